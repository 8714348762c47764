//go:build linux

package collect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// read reads the node with other options.
func (w *world) read(change func(*Options)) (read *inspect.Snapshot) {
	w.t.Helper()
	options := Options{StateDir: filepath.Join(w.CNIDir, "plexus"), NetNSDirs: []string{w.Path("netns")}, Sysfs: "/sys"}
	change(&options)
	w.Do(func() (err error) {
		read, err = Node(options)
		return err
	})
	return read
}

// brief leaves out of a namespace what a brief one does not have, and the counters, which go on.
func brief(ns inspect.Namespace) inspect.Namespace {
	links := make([]inspect.Link, len(ns.Links))
	for i, link := range ns.Links {
		link.Port, link.Statistics, link.Ethernet, link.Qdiscs, link.Programs = nil, nil, nil, nil, nil
		links[i] = link
	}
	return inspect.Namespace{Inode: ns.Inode, Host: ns.Host, Brief: true, NSID: ns.NSID, Paths: ns.Paths, Sandbox: ns.Sandbox, Links: links}
}

// What is read from outside of a namespace is what is read inside: its own interfaces and
// addresses, and where they lead to.
func TestNetnsBrief(t *testing.T) {
	w := newWorld(t)
	whole := w.snapshot()
	got := w.read(func(o *Options) { o.Brief = true })
	check.Equal(t, "notes", got.Notes, whole.Notes)
	check.Equal(t, "namespaces", len(got.Namespaces), 3)
	for i := range whole.Namespaces {
		for j := range got.Namespaces[i].Links {
			got.Namespaces[i].Links[j].Statistics = nil
		}
		check.Equal(t, whole.Namespaces[i].Title(), got.Namespaces[i], brief(whole.Namespaces[i]))
	}
	check.Equal(t, "attached", attached(t, got), attached(t, whole))
}

// attached gives what get says of a snapshot.
func attached(t *testing.T, s *inspect.Snapshot) string {
	t.Helper()
	text, err := json.Marshal(inspect.NewAttachedList(s, func(*inspect.Attached) bool { return true }))
	check.Must(t, err)
	return string(text)
}

// A namespace to which no interface leads has no number: it is entered, and gets none.
func TestNetnsBriefWithoutNumber(t *testing.T) {
	w := newWorld(t)
	c := w.Sandbox("c")
	c.MustRun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	c.MustRun("ip", "addr", "add", "192.0.2.5/24", "dev", "v0")
	for range 2 {
		got := w.read(func(o *Options) { o.Brief = true })
		inode, err := got.FindPath(c.Path)
		check.Must(t, err)
		ns := inspect.NewGraph(got).Namespace(inode)
		check.Equal(t, "number", ns.NSID == nil, true)
		check.Equal(t, "address", ns.LinkNamed("v0").Addresses[0].Address, "192.0.2.5/24")
		check.Equal(t, "peer", *ns.LinkNamed("v0").Link, inspect.Ref{Namespace: inode, Index: ns.LinkNamed("v1").Index})
	}
}

// What is asked for is read in full, with what its interfaces lead to; of the others enough is
// read to see that they have the same address.
func TestNetnsOnly(t *testing.T) {
	w := newWorld(t)
	behind, far := w.Sandbox("behind"), w.Sandbox("far")
	behind.MustRun("ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1", "netns", far.Path)
	w.a.MustRun("ip", "link", "add", "vm0", "type", "veth", "peer", "name", "vm1", "netns", behind.Path)
	w.a.MustRun("ip", "addr", "add", "10.1.7.7/16", "dev", "eth0")
	w.b.MustRun("ip", "addr", "add", "10.1.7.7/16", "dev", "eth0")
	whole := w.snapshot()
	for name, target := range map[string]inspect.Target{
		"a pod": {Pod: "default/a"}, "a container": {Container: "a"}, "a path": {NetNS: w.a.Path},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.read(func(o *Options) { o.Only = []inspect.Target{target} })
			briefs := map[string]bool{}
			for _, ns := range got.Namespaces {
				briefs[fmt.Sprint(ns.Inode)] = ns.Brief
			}
			for _, test := range []struct {
				sandbox string
				brief   bool
			}{{w.a.Path, false}, {w.b.Path, true}, {behind.Path, false}, {far.Path, false}} {
				inode, err := got.FindPath(test.sandbox)
				check.Must(t, err)
				check.Equal(t, filepath.Base(test.sandbox)+" is brief", briefs[fmt.Sprint(inode)], test.brief)
			}
			check.Equal(t, "the node is brief", got.Namespaces[0].Brief, false)
			inode := namespace(t, whole, "a").Inode
			check.Equal(t, "findings", inspect.FindingsOf(inspect.Findings(got), got, inode), inspect.FindingsOf(inspect.Findings(whole), whole, inode))
			check.Equal(t, "there is one", len(inspect.Findings(got)), 1)
		})
	}
	nobody := w.read(func(o *Options) { o.Only = []inspect.Target{{Pod: "default/nobody"}} })
	check.Equal(t, "the last is brief", nobody.Namespaces[len(nobody.Namespaces)-1].Brief, true)
}

// The order of tables does not depend on who made them first.
func TestNetnsTablesAreSorted(t *testing.T) {
	w := newWorld(t)
	w.Run("nft", "add", "table", "ip", "zebra")
	w.Run("nft", "add", "table", "inet", "ape")
	tables := w.read(func(*Options) {}).Namespaces[0].Netfilter.NFT
	check.Equal(t, "in the order of their names", slices.IsSorted(tables), true)
	check.Equal(t, "both are there", slices.Contains(tables, "inet ape") && slices.Contains(tables, "ip zebra"), true)
}

// child is set for a process of this test that reads the node and prints the snapshot, with fewer
// capabilities: the folders of the journal and of the namespaces.
const child = "COLLECT_FROM"

func init() {
	dirs := strings.Split(os.Getenv(child), ":")
	if len(dirs) != 2 {
		return
	}
	s, err := Node(Options{StateDir: dirs[0], NetNSDirs: dirs[1:], Sysfs: "/sys"})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// readWith reads the node in a process that has some capabilities of root.
func (w *world) readWith(capabilities string) *inspect.Snapshot {
	w.t.Helper()
	s, err := inspect.Parse([]byte(w.Run("setpriv", "--bounding-set="+capabilities, "--inh-caps=-all", "--no-new-privs", "--",
		"env", child+"="+filepath.Join(w.CNIDir, "plexus")+":"+w.Path("netns"), os.Args[0])))
	check.Must(w.t, err)
	return s
}

// Whatever capability is missing, what can be read is read, and a note names what is missing for
// the rest.
func TestNetnsCapabilities(t *testing.T) {
	w := newWorld(t)
	w.Sandbox("lonely") // no interface of the node leads to it
	w.Run("nft", "add", "table", "inet", "somebody")
	for name, test := range map[string]struct {
		capabilities string
		notes        []string
		briefs       string
	}{
		"none":      {"-all", []string{"the node: " + errNoNetAdmin.Error(), "a: " + errNotAsked.Error(), "b: " + errNotAsked.Error(), "lonely: " + errNoNumber.Error()}, "false"},
		"NET_ADMIN": {"-all,+net_admin", []string{"a: " + errNotEntered.Error(), "b: " + errNotEntered.Error(), "lonely: " + errNoNumber.Error()}, "false true true"},
		"SYS_ADMIN": {"-all,+sys_admin", []string{
			"the node: " + errNoNetAdmin.Error(), "a: " + errNoNetAdmin.Error(), "b: " + errNoNetAdmin.Error(), "lonely: " + errNoNetAdmin.Error(),
		}, "false false false false"},
		"both": {"-all,+net_admin,+sys_admin", nil, "false false false false"},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.readWith(test.capabilities)
			var notes, briefs []string
			for _, note := range s.Notes {
				notes = append(notes, filepath.Base(note.About)+": "+note.Text)
			}
			for _, ns := range s.Namespaces {
				briefs = append(briefs, fmt.Sprint(ns.Brief))
			}
			check.Equal(t, "notes", notes, test.notes)
			check.Equal(t, "which are brief", strings.Join(briefs, " "), test.briefs)
			check.Equal(t, "the node's routes", len(s.Namespaces[0].Routes) > 0, true)
		})
	}
}

// No capability is needed but those whose lack is noted.
func TestNetnsWithoutEachCapability(t *testing.T) {
	w := newWorld(t)
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	check.Must(t, err)
	count, err := strconv.Atoi(strings.TrimSpace(string(last)))
	check.Must(t, err)
	for capability := range count + 1 {
		s := w.readWith(fmt.Sprintf("-cap_%d", capability))
		missed := capability == unix.CAP_NET_ADMIN || capability == unix.CAP_SYS_ADMIN
		check.Equal(t, fmt.Sprintf("without capability %d there are notes", capability), len(s.Notes) > 0, missed)
		check.Equal(t, fmt.Sprintf("namespaces without capability %d", capability), len(s.Namespaces), 3)
	}
}
