package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// damages are ways in which a record becomes unreadable.
var damages = map[string]func(record []byte) []byte{
	"garbage":           func([]byte) []byte { return []byte("this is no record\n") },
	"binary":            func([]byte) []byte { return bytes.Repeat([]byte{0}, 4096) },
	"truncated":         func(record []byte) []byte { return record[:bytes.IndexByte(record, '\n')/2] },
	"empty":             func([]byte) []byte { return nil },
	"of another":        func(record []byte) []byte { return bytes.ReplaceAll(record, []byte(`"c1"`), []byte(`"c9"`)) },
	"another document":  func([]byte) []byte { return []byte(`{"kind": "Pod"}` + "\n") },
	"first line gone":   func(record []byte) []byte { return record[bytes.IndexByte(record, '\n')+1:] },
	"wrong type inside": func(record []byte) []byte { return bytes.Replace(record, []byte(`"plan":{`), []byte(`"plan":[{`), 1) },
}

func TestNetnsDelWithADamagedRecord(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			n.Wrap("bridge", "macvlan")
			n.Add(pod, n.Conf(nil))
			damaged := damageRecord(t, n, pod, damage)
			n.Calls()
			n.Del(pod, n.Conf(nil))
			names := n.CallNames()
			check.Equal(t, "calls", strings.Join(names[2:], ", "), "DEL bridge eth0")
			check.Equal(t, "number of calls", len(names), 3)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
			check.Equal(t, "what was set aside", n.ReadFile(n.RecordPath(pod)+".corrupt"), string(damaged))
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
			n.Del(pod, n.Conf(nil))
			check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
		})
	}
}

func damageRecord(t *testing.T, n *node.Node, pod *node.Sandbox, damage func([]byte) []byte) []byte {
	t.Helper()
	record, err := os.ReadFile(n.RecordPath(pod))
	if err != nil {
		t.Fatal(err)
	}
	record = damage(record)
	if err := os.WriteFile(n.RecordPath(pod), record, 0o600); err != nil {
		t.Fatal(err)
	}
	return record
}

func TestNetnsAddOverADamagedRecord(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Add(pod, n.Conf(nil))
	damageRecord(t, n, pod, damages["truncated"])
	n.Add(pod, n.Conf(nil))
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0", "net1"})
	n.Del(pod, n.Conf(nil))
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}

func TestNetnsSecondDamagedRecordIsKeptToo(t *testing.T) {
	n, pod := threeNetworks(t)
	for range 2 {
		n.Add(pod, n.Conf(nil))
		damageRecord(t, n, pod, damages["garbage"])
		n.Del(pod, n.Conf(nil))
	}
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt", n.RecordPath(pod) + ".corrupt.2"})
}

// A torn last line, of a writer that was killed, is no damage.
func TestNetnsDelWithATornLastLine(t *testing.T) {
	n, pod := threeNetworks(t)
	added := n.Add(pod, n.Conf(nil))
	damageRecord(t, n, pod, func(record []byte) []byte { return append(record, `{"event":"publ`...) })
	n.Check(pod, prevResult(n.Conf(nil), added))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func newerFormat(record []byte) []byte {
	return bytes.Replace(record, []byte(`"format":1`), []byte(`"format":2`), 1)
}

func TestNetnsRecordOfANewerFormatIsLeftAlone(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	conf := n.Conf(nil)
	n.Add(pod, conf)
	newer := damageRecord(t, n, pod, newerFormat)
	interfaces := pod.Interfaces()
	n.Calls()
	for _, command := range []string{"ADD", "CHECK", "DEL"} {
		o := call(n, command, pod, conf)
		if o.ExitCode != 1 {
			t.Errorf("%s succeeded", command)
			continue
		}
		check.Contains(t, "error", o.Err.Msg, "default/c1", "newer version of plexus", "format 2")
	}
	check.Equal(t, "calls", n.CallNames(), []string{})
	check.Equal(t, "interfaces", pod.Interfaces(), interfaces)
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
	check.Equal(t, "record", n.ReadFile(n.RecordPath(pod)), string(newer))
}

// The other attachment of the container, which plexus makes for another network of the
// runtime, is none of this DEL's business.
func TestNetnsDelWithADamagedRecordBesideAnother(t *testing.T) {
	n, pod := threeNetworks(t)
	other := n.Conf(node.Conf{"name": "other", "firstInterfaceIndex": 5, "delegates": []node.Conf{node.Bridge("br9", "10.9.0.0/16")}})
	n.Add(pod, n.Conf(nil))
	n.Call(node.Call{Command: "ADD", Config: other, Sandbox: pod, IfName: "eth1"}).OK()
	damageRecord(t, n, pod, damages["empty"])
	n.Del(pod, n.Conf(nil))
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth1", "net5", "net6"})
	n.Call(node.Call{Command: "CHECK", Config: other, Sandbox: pod, IfName: "eth1"}).OK()
	n.Call(node.Call{Command: "DEL", Config: other, Sandbox: pod, IfName: "eth1"}).OK()
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}

// A runtime whose libcni has its cache in the same folder has cached plexus there.
func TestNetnsDelWithADamagedRecordByARuntimeWithTheSameCache(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	rt := pod.RuntimeConf("eth0")
	list, err := libcni.NetworkConfFromBytes([]byte(node.List("cluster", "1.0.0", n.Conf(nil)).String()))
	if err != nil {
		t.Fatal(err)
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{n.Bin, n.CNIBin}, n.CNIDir, nil)
	n.Do(func() error {
		_, err := cni.AddNetworkList(context.Background(), list, rt)
		return err
	})
	n.Do(func() error { return cni.CheckNetworkList(context.Background(), list, rt) })
	damageRecord(t, n, pod, damages["truncated"])
	n.Calls()
	n.Do(func() error { return cni.DelNetworkList(context.Background(), list, rt) })
	check.Equal(t, "number of calls", len(n.Calls()), 3)
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}

// A damaged record is there as long as something is left to release.
func TestNetnsDamagedRecordWhoseReleaseFails(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("macvlan")
	n.Add(pod, n.Conf(nil))
	damageRecord(t, n, pod, damages["truncated"])
	n.Hook("macvlan", "DEL", "fail 77 'not now'")
	for range 2 {
		check.Contains(t, "error", call(n, "DEL", pod, n.Conf(nil)).Fails(77).Msg, "default/c1", "not now")
		check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
		check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"net0"})
	}
	n.Hook("macvlan", "DEL", "")
	n.Del(pod, n.Conf(nil))
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}

// Other pods' calls release what no DEL may ever ask for again.
func TestNetnsDamagedRecordOfADeadSandbox(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	conf := n.Conf(nil)
	pods := attached(n, conf, "c1", "c2")
	other := n.Sandbox("c3")
	old := time.Now().Add(-time.Hour)
	for _, pod := range pods {
		damageRecord(t, n, pod, damages["garbage"])
		if err := os.Chtimes(n.RecordPath(pod), old, old); err != nil {
			t.Fatal(err)
		}
	}
	pods[0].Destroy()
	n.Del(other, conf)
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl.corrupt", "c2@cluster@eth0.jsonl"})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}, "mac": {"10.2.0.3"}})
	check.Equal(t, "interfaces of the living", pods[1].InterfaceNames(), []string{"eth0", "net0"})
}

// A machine that lost power has a file of half a result, or of none.
func TestNetnsHalfWrittenCacheIsRestored(t *testing.T) {
	for name, part := range map[string]int{"half": 2, "nothing": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			added := n.Add(pod, n.Conf(nil))
			cache := filepath.Join(n.CNIDir, "results", "cbr0-c1-eth0")
			whole := n.ReadFile(cache)
			n.Calls()
			for _, command := range []string{"CHECK", "DEL"} {
				n.WriteFile(cache, whole[:len(whole)/part])
				call(n, command, pod, n.Conf(nil)).OK()
				calls := n.Calls()
				check.Equal(t, "number of calls", len(calls), 1)
				check.Equal(t, "command", calls[0].Command, command)
				if calls[0].Config["prevResult"] == nil {
					t.Fatalf("%s: there is no prevResult", command)
				}
				check.Equal(t, "prevResult", addresses(node.ParseResult(t, calls[0].Config["prevResult"])), addresses(added.Result))
			}
			n.MustBeClean()
		})
	}
}
