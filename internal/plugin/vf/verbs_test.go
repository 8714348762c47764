package vf

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// checkConfig is the configuration of a CHECK after an ADD of all.
func checkConfig(t *testing.T) *Config {
	t.Helper()
	return parse(t, strings.TrimSuffix(all, "}")+`,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"net0","mac":"02:00:00:00:00:01","mtu":1500,"sandbox":"/run/netns/a"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}}`)
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*machine)
		says   []string // none for success
		code   uint
	}{
		{"as it was left", func(*machine) {}, nil, 0},
		{"settings", func(m *machine) { m.settings.VLAN, m.settings.Trust, m.settings.SpoofChk = 5, ptr(false), nil }, []string{"vlan: is 5", "trust: is off, not on", "spoofchk: is unknown to its driver, not off"}, types.CodeFailed},
		{"the PF's MAC", func(m *machine) { m.settings.MAC = noMAC }, []string{"mac: the PF keeps 00:00:00:00:00:00, not 02:00:00:00:00:01"}, types.CodeFailed},
		{"the interface's own", func(m *machine) {
			m.link.MAC, m.link.MTU, m.link.Name, m.link.Up = "02:00:00:00:00:09", 1400, "odd", false
		}, []string{"mac: is 02:00:00:00:00:09", "mtu: is 1400", "is named odd, not net0", "is down", "device " + dev + " (PF pf0, VF 0)"}, types.CodeFailed},
		{"no interface", func(m *machine) { m.ns = "" }, []string{"its interface is not in " + nsA}, types.CodeFailed},
		{"no namespace", func(m *machine) { delete(m.namespaces, nsA) }, []string{nsA + " is gone"}, types.CodeUnknownContainer},
		{"no device", func(m *machine) { m.device = nil }, []string{"there is no such device"}, types.CodeFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine()
			e := m.engine(t)
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			tc.change(m)
			m.notes = nil
			err := e.Check(t.Context(), inA(), checkConfig(t))
			if len(tc.says) == 0 {
				equal(t, "what CHECK did", []string{"ipam CHECK c1"}, m.notes)
				equal(t, "the IPAM plugin gets prevResult", true, strings.Contains(m.ipamConfig, `"prevResult":{"cniVersion"`))
			}
			if (err == nil) != (len(tc.says) == 0) || err != nil && tc.name != "no device" && types.CodeOf(err, types.CodeFailed) != tc.code {
				t.Fatalf("got %v", err)
			}
			for _, word := range tc.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestCheckRefused(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if err := e.Check(t.Context(), inA(), checkConfig(t)); !errors.Is(err, fs.ErrNotExist) || types.CodeOf(err, 0) != types.CodeUnknownContainer {
		t.Errorf("never attached: %v", err)
	}
	for _, config := range []string{all, strings.TrimSuffix(all, "}") + `,"prevResult":7}`, `{"name":"n"}`} {
		if err := e.Check(t.Context(), inA(), parse(t, config)); types.CodeOf(err, 0) != types.CodeInvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestGC(t *testing.T) {
	gc := func(name, valid string) *Config {
		return parse(t, `{"name":"`+name+`","ipam":{"type":"ipam"},"cni.dev/valid-attachments":`+valid+`}`)
	}
	m := newMachine()
	e, before := m.engine(t), m.view()
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	if err := e.GC(t.Context(), parse(t, all)); types.CodeOf(err, 0) != types.CodeInvalidConfig {
		t.Errorf("without a list: %v", err)
	}
	for _, c := range []*Config{gc("n", `[{"containerID":"c1","ifname":"net0"}]`), gc("other", `[]`)} {
		if err := e.GC(t.Context(), c); err != nil {
			t.Error(err)
		}
		equal(t, "states", 1, len(states(t, e)))
	}
	if err := e.GC(t.Context(), gc("n", `[{"containerID":"c1","ifname":"net1"}]`)); err != nil {
		t.Error(err)
	}
	m.link.Index = before.Link.Index
	equal(t, "after GC", before, m.view())
	equal(t, "states", 0, len(states(t, e)))
	equal(t, "the last that the IPAM plugin heard", "ipam GC ", m.notes[len(m.notes)-1])
}

func TestStatus(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	for config, says := range map[string]string{
		`{"name":"n"}`:                           "",
		all:                                      "",
		`{"name":"n","deviceID":"x"}`:            "deviceID: device x",
		`{"name":"n","master":"pf9"}`:            "master: interface pf9",
		`{"name":"n","ipam":{"type":"nothere"}}`: "ipam.type",
		`{"name":"n","master":"pf0v0","ipam":null}`: "",
	} {
		err := e.Status(t.Context(), parse(t, config))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", config, err)
		}
	}
	e.Store.Dir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(e.Store.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Status(t.Context(), parse(t, `{"name":"n"}`)); types.CodeOf(err, 0) != types.CodeNotAvailable {
		t.Errorf("no folder: %v", err)
	}
}

// Of many that want one VF at once, one gets it.
func TestAddAtOnce(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	var group sync.WaitGroup
	got := make(chan error, 8)
	for n := range 8 {
		group.Go(func() {
			call := Call{ContainerID: "c" + string(rune('0'+n)), NetNS: nsA, IfName: "net0"}
			_, err := e.Add(context.Background(), call, parse(t, all))
			got <- err
		})
	}
	group.Wait()
	close(got)
	succeeded := 0
	for err := range got {
		if err == nil {
			succeeded++
		} else if !errors.Is(err, ErrTaken) {
			t.Error(err)
		}
	}
	equal(t, "number of successes", 1, succeeded)
	equal(t, "states", 1, len(states(t, e)))
}

func TestClaimIsWaitedFor(t *testing.T) {
	store := Store{Dir: filepath.Join(t.TempDir(), "a", "b")}
	claim, err := store.Claim(t.Context(), dev)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Claim(ended, dev); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a taken one: %v", err)
	}
	second := make(chan error)
	go func() {
		again, err := store.Claim(t.Context(), dev)
		if err == nil {
			again.Release()
		}
		second <- err
	}()
	claim.Release()
	if err := <-second; err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "../x", "a@b", ".hidden", strings.Repeat("a", 300)} {
		if _, err := store.Claim(t.Context(), bad); err == nil {
			t.Errorf("%.20q can be claimed", bad)
		}
	}
}

// What a writer left that ended in the middle is cleared away, and is no state.
func TestTornState(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if err := host.MakeDir(e.Store.Dir); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(e.Store.Dir, dev+"@c1@net0.json.new")
	if err := os.WriteFile(torn, []byte(`{"for`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	equal(t, "states", 0, len(states(t, e)))
	equal(t, "changes", 0, len(m.notes))
}
