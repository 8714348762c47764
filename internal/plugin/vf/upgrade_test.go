package vf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
)

// The files that the first versions wrote for the ADD of all, and for its DEL: a node is
// upgraded, and downgraded, with pods running.
const (
	firstName  = "0000:01:10.0@c1@net0.json"
	firstState = `{"format":1,"device":"0000:01:10.0","containerID":"c1","ifName":"net0","network":"n","netNS":"/run/netns/a","netNSInode":100,"bootID":"boot","pf":{"pciAddress":"0000:01:00.0","netdev":"pf0","driver":"igb"},"vf":0,"before":{"mac":"7a:00:00:00:00:01","vlan":0,"vlanQoS":0,"vlanProto":"802.1q","spoofchk":true,"trust":false,"min_tx_rate":0,"max_tx_rate":0,"link_state":"auto"},"link":{"index":9,"name":"pf0v0","mac":"7a:00:00:00:00:01","mtu":1500,"up":true},"want":{"mac":"02:00:00:00:00:01","vlan":100,"spoofchk":false,"trust":true,"max_tx_rate":50},"ipam":"ipam","config":{"cniVersion":"1.1.0","deviceID":"0000:01:10.0","ipam":{"type":"ipam"},"mac":"02:00:00:00:00:01","max_tx_rate":50,"name":"n","spoofchk":"off","trust":"on","vlan":100},"attached":true}`
	firstLock  = `{"device":"0000:01:10.0","containerID":"c1","ifName":"net0"}`
)

func TestStateOfTheFirstVersions(t *testing.T) {
	m := newMachine()
	e, before := m.engine(t), m.view()
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(e.Store.Dir, firstName)
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const since = `"traits":{"flags":4096,"txQLen":1000,"group":0,"ethtool":{"offloads":"AQ==","rings":"Ag=="}},`
	equal(t, "what is written today", firstState, strings.Replace(string(written), since, "", 1))

	// The other way round: a folder as they left it.
	e.Store.Dir = filepath.Join(t.TempDir(), "state")
	if err := host.MakeDir(e.Store.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.Store.Dir, firstName), []byte(firstState), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Check(t.Context(), inA(), checkConfig(t)); err != nil {
		t.Error(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.link.Index = before.Link.Index
	equal(t, "after DEL", before, m.view())
	equal(t, "number of states", 0, len(states(t, e)))
	lock, err := os.ReadFile(filepath.Join(e.Store.Dir, dev+".lock"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "lock that is written today", firstLock, string(lock))
}

// A repeated DEL finds in the lock's file that it has nothing to do, also in one of theirs.
func TestLockOfTheFirstVersions(t *testing.T) {
	m := newMachine()
	m.device.Driver, m.link, m.settings = "vfio-pci", nil, &sriov.VFSettings{
		MAC: "02:00:00:00:00:01", VLAN: 100, VLANProto: sriov.Proto8021Q, SpoofChk: ptr(false), Trust: ptr(true), MaxTxRate: 50,
	}
	e := m.engine(t)
	if err := host.MakeDir(e.Store.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.Store.Dir, dev+".lock"), []byte(firstLock), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what DEL did", []string{"ipam DEL c1"}, m.notes)
}
