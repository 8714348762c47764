//go:build linux

package collect

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// What the kernel and the journal have is in the snapshot, and nothing of it is lost when it
// is saved.
func TestNetnsSnapshot(t *testing.T) {
	w := newWorld(t)
	w.a.MustRun("ip", "rule", "add", "from", "10.2.0.0/16", "table", "100")
	w.a.MustRun("ip", "route", "add", "blackhole", "198.51.100.0/24", "table", "100")
	w.a.MustRun("ip", "neigh", "add", "10.2.0.77", "lladdr", "02:00:00:00:00:77", "dev", "net0", "nud", "permanent")
	s := w.snapshot()
	check.Equal(t, "notes", len(s.Notes), 0)
	data, err := s.Bytes()
	check.Must(t, err)
	again, err := inspect.Parse(data)
	check.Must(t, err)
	check.Equal(t, "the snapshot as saved", again, s)

	graph, pod := inspect.NewGraph(s), namespace(t, s, "a")
	check.Equal(t, "namespaces", len(s.Namespaces), 3)
	check.Equal(t, "the node's own is the first", s.Namespaces[0].Host, true)
	check.Equal(t, "sandbox", pod.Sandbox, &inspect.Sandbox{ContainerID: "a", Pod: "default/a"})
	check.Equal(t, "the node knows it by a number", pod.NSID != nil, true)
	record := graph.RecordsOf(pod)[0]
	check.Equal(t, "plugins", record.Attachments[1].Plugins, []string{"macvlan"})
	check.Equal(t, "address", record.Attachments[0].Addresses[0].Gateway, "10.1.0.1")

	ref := func(name string) inspect.Ref {
		return inspect.Ref{Namespace: pod.Inode, Index: pod.LinkNamed(name).Index}
	}
	peer, end := graph.PeerOf(ref("eth0"))
	back, eth0 := graph.PeerOf(peer)
	check.Equal(t, "the peer's peer", back, ref("eth0"))
	check.Equal(t, "port", end.Port.State, "forwarding")
	_, bridge := graph.BridgeOf(ref("eth0"))
	check.Equal(t, "bridge", bridge.Name, "cbr0")
	_, parent := graph.ParentOf(ref("net0"))
	check.Equal(t, "parent", parent.Name, "up0")
	check.Equal(t, "mode", pod.LinkNamed("net0").Mode, "bridge")
	check.Equal(t, "counted", eth0.Statistics != nil, true)
	check.Equal(t, "sysctl", pod.SysctlOf("ipv4", "net0", "proxy_arp"), "0")
	has := func(what string, found bool) { check.Equal(t, what, found, true) }
	has("rule", slices.ContainsFunc(pod.Rules, func(r inspect.Rule) bool { return r.From == "10.2.0.0/16" && r.Table == 100 }))
	has("route of another table", slices.ContainsFunc(pod.Routes, func(r inspect.Route) bool { return r.Type == "blackhole" && r.Table == 100 }))
	has("default route", slices.ContainsFunc(pod.Routes, func(r inspect.Route) bool { return r.To == "default" && r.Via == "10.1.0.1" }))
	has("neighbour", slices.Contains(pod.Neighbours, inspect.Neighbour{Index: ref("net0").Index, Address: "10.2.0.77", MAC: "02:00:00:00:00:77", State: "permanent"}))
	has("FDB", slices.ContainsFunc(s.Namespaces[0].FDB, func(e inspect.FDBEntry) bool { return e.Index == peer.Index && e.Master != 0 }))
}

func namespace(t *testing.T, s *inspect.Snapshot, container string) *inspect.Namespace {
	t.Helper()
	inode, err := s.FindContainer(container)
	check.Must(t, err)
	return inspect.NewGraph(s).Namespace(inode)
}

// What is no namespace, went away or is damaged takes nothing from the rest.
func TestNetnsSnapshotOfARestlessNode(t *testing.T) {
	w := newWorld(t)
	check.Must(t, os.WriteFile(w.Path("netns", "no-namespace"), []byte("x"), 0o600))
	w.b.Destroy()
	damaged := filepath.Join(w.CNIDir, "plexus", "d@cluster@eth0.jsonl")
	check.Must(t, os.WriteFile(damaged, []byte("{"), 0o600))
	s := w.snapshot()
	check.Equal(t, "namespaces", len(s.Namespaces), 2)
	check.Equal(t, "records", len(s.Records), 2)
	check.Equal(t, "the ended pod lives", s.Records[1].Live, false)
	check.Equal(t, "findings", found(s), []string{})
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0].Text, "the record is damaged") {
		t.Errorf("notes: %+v", s.Notes)
	}
	w.Do(func() error {
		s, err := Node(Options{StateDir: filepath.Join(w.CNIDir, "plexus"), NetNS: []string{w.Path("netns", "no-namespace"), w.a.Path}})
		check.Equal(t, "namespaces that are named", len(s.Namespaces), 2)
		_, missing := s.FindPath(w.Path("netns", "no-namespace"))
		check.Error(t, missing, "this file is no network namespace")
		return err
	})
}

// A list that changes while it is read is read again.
func TestDumpAgain(t *testing.T) {
	for interruptions, want := range map[int]error{3: nil, 1000: netlink.ErrDumpInterrupted} {
		lists := 0
		_, err := dump(func() ([]int, error) {
			if lists++; lists <= interruptions {
				return nil, netlink.ErrDumpInterrupted
			}
			return nil, nil
		})
		if !errors.Is(err, want) {
			t.Errorf("%d interruptions: %v", interruptions, err)
		}
	}
}

// The catalogue has nothing that no kernel does.
func TestEveryFindingHappens(t *testing.T) {
	for _, entry := range inspect.Catalogue {
		happens := false
		for _, test := range faults {
			happens = happens || slices.ContainsFunc(test.want, func(want string) bool { return strings.Contains(want, " "+entry.ID+":") })
		}
		check.Equal(t, entry.ID+" happens in a test", happens, true)
	}
}
