package path_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// kept gives the snapshots of a folder of testdata, which the tests of package collect write from
// real kernels, with their answers.
func kept(t testing.TB, name string) []*inspect.Snapshot {
	t.Helper()
	return snapshotsOf(t, filepath.Join("testdata", name, "*.json"))
}

func snapshotsOf(t testing.TB, pattern string) []*inspect.Snapshot {
	t.Helper()
	files, err := filepath.Glob(pattern)
	check.Must(t, err)
	var all []*inspect.Snapshot
	for _, file := range files {
		data, err := os.ReadFile(file)
		check.Must(t, err)
		snapshot, err := inspect.Parse(data)
		check.Must(t, err)
		all = append(all, snapshot)
	}
	return all
}

// query asks for the way between the pods of a kept path.
var query = path.Query{From: "/run/netns/p1", To: "/run/netns/p2"}

// A saved path is whole: nobody has to be asked again, and each time it is the same.
func TestKeptPathsAreWhole(t *testing.T) {
	for name, want := range map[string]struct {
		there path.Outcome
		hops  int
		query path.Query
	}{
		"overlay":                             {path.Arrives, 10, query},
		"overlay-without-the-entry-of-a-VTEP": {path.Lost, 4, query},
		"macvlan-siblings":                    {path.Arrives, 3, query},
		"ptp":                                 {path.Arrives, 4, query},
		"proxy-ARP-without-a-default-route":   {path.Lost, 2, query},
	} {
		t.Run(name, func(t *testing.T) {
			first, asked, err := path.NewWorld(kept(t, name)...).Trace(want.query)
			check.Must(t, err)
			check.Equal(t, "questions", len(asked), 0)
			check.Equal(t, "outcome", first.There.Outcome, want.there)
			check.Equal(t, "hops", len(first.There.Hops), want.hops)
			again, _, err := path.NewWorld(kept(t, name)...).Trace(want.query)
			check.Must(t, err)
			check.Equal(t, "again", again, first)
		})
	}
}

// An answer that is missing is asked for, and nothing is told meanwhile.
func TestTraceAsks(t *testing.T) {
	snapshots := kept(t, "ptp")
	answers := snapshots[0].Answers
	snapshots[0].Answers = nil
	rounds := 0
	for ; rounds < 20; rounds++ {
		_, asked, err := path.NewWorld(snapshots...).Trace(query)
		check.Must(t, err)
		if len(asked) == 0 {
			break
		}
		for _, answer := range answers {
			if answer.Question == asked[0].Question {
				snapshots[0].Answers = append(snapshots[0].Answers, answer)
			}
		}
	}
	check.Equal(t, "answers that were asked for", len(snapshots[0].Answers), len(answers))
	check.Equal(t, "rounds", rounds, len(answers))
}

// What cannot be found, or is not settled, is an error that names it.
func TestTraceRefuses(t *testing.T) {
	world := path.NewWorld(networked(t)...)
	for want, query := range map[string]path.Query{
		"pod shop/none":                   {From: "shop/none", To: "shop/b"},
		"/run/netns/none":                 {From: "shop/a", To: "/run/netns/none"},
		"has no interface net7":           {From: "shop/a", To: "shop/b", Interface: "net7"},
		"podnet (-i eth0), lan (-i net0)": {From: "shop/a", To: "shop/b"},
	} {
		_, _, err := world.Trace(query)
		check.Error(t, err, want)
	}
	_, _, err := world.Trace(path.Query{From: "shop/a", To: "shop/b"})
	check.Equal(t, "choose", errors.Is(err, path.ErrChoose), true)
	d, _, err := world.Trace(path.Query{From: "shop/a", To: "shop/b", Interface: "net1"})
	check.Must(t, err)
	check.Equal(t, "the far end of the network of net1", d.To.Interface, "net1")
}

// A vhost-user port, and a device that a program drives, are in no kernel: the way begins there, and ends.
func TestTraceOfWhatAProgramDrives(t *testing.T) {
	for name, test := range map[string]struct {
		make func(*inspect.Attachment)
		kind string
		want string
	}{
		"a vhost-user port": {func(a *inspect.Attachment) {
			a.Interfaces = []inspect.RecordedInterface{{Name: "net5", InSandbox: true, Socket: "/run/x.sock"}}
		}, "vhost-user", "the switch in user space at the socket /run/x.sock"},
		"a VF of vfio-pci": {func(a *inspect.Attachment) { a.DeviceID = "0000:01:10.0" }, "device", "its device 0000:01:10.0"},
	} {
		t.Run(name, func(t *testing.T) {
			snapshots := networked(t)
			for i := range snapshots[0].Records {
				a := &snapshots[0].Records[i].Attachments[2]
				a.Network, a.Interface = "fast", "net5"
				a.Addresses = []inspect.RecordedAddress{{Address: "10.9.0.2/16"}}
				test.make(a)
			}
			d, asked, err := path.NewWorld(snapshots...).Trace(path.Query{From: "shop/a", To: "shop/b", Interface: "net5"})
			check.Must(t, err)
			check.Equal(t, "questions", len(asked), 0)
			check.Equal(t, "outcomes", []path.Outcome{d.There.Outcome, d.Back.Outcome}, []path.Outcome{path.Unknown, path.Unknown})
			check.Contains(t, "reason", d.There.Reason, "shop/a", "net5", test.want)
			check.Contains(t, "reason of the way back", d.Back.Reason, "shop/b", "net5", test.want)
			check.Equal(t, "hop", []string{d.There.Hops[0].Name, d.There.Hops[0].Kind, d.From.Address}, []string{"net5", test.kind, "10.9.0.2"})
			check.Equal(t, "wrong", d.Wrong(), false)
		})
	}
}

// networked is a node with two pods, recorded as attached to two networks that both are on.
func networked(t *testing.T) []*inspect.Snapshot {
	t.Helper()
	all := kept(t, "ptp")
	for i, pod := range []string{"shop/a", "shop/b"} {
		ns := &all[0].Namespaces[i+1]
		ns.Sandbox = &inspect.Sandbox{ContainerID: pod, Pod: pod}
		all[0].Records = append(all[0].Records, inspect.Record{
			Sandbox: *ns.Sandbox, Inode: ns.Inode, Live: true, Complete: true, Attachments: []inspect.Attachment{
				{Network: "podnet", Interface: "eth0", Attached: true},
				{Network: "lan", Interface: "net0", Attached: true},
				{Network: "ptp", Interface: "net1", Attached: true},
			},
		})
		all[0].Records[i].Attachments[2].Network += strings.Repeat("-other", i)
	}
	return all
}

// Whatever a Snapshot says, a trace ends, without a panic.
func FuzzTrace(f *testing.F) {
	names := []string{"overlay", "a-macvlan-of-the-NIC", "macvlan-siblings", "proxy-ARP-without-a-default-route", "strict-rp_filter", "ptp"}
	for i := range names {
		f.Add(uint8(i), []byte{}, "net0", uint8(1), false)
		f.Add(uint8(i), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, "", uint8(2), true)
	}
	f.Fuzz(func(t *testing.T, which uint8, changes []byte, name string, seed uint8, forget bool) {
		snapshots := kept(t, names[int(which)%len(names)])
		for i := 0; i+3 < len(changes); i += 4 {
			change(snapshots[i%len(snapshots)], int(changes[i]), int(changes[i+1]), int(changes[i+2]), int(changes[i+3]))
		}
		if forget {
			for _, snapshot := range snapshots {
				snapshot.Answers = nil
			}
		}
		traceWhole(t, snapshots, path.Query{From: query.From, To: query.To, Interface: name}, int(seed))
	})
}

// traceWhole traces to the end, with answers that are made up.
func traceWhole(t *testing.T, snapshots []*inspect.Snapshot, query path.Query, seed int) {
	t.Helper()
	world := path.NewWorld(snapshots...)
	for round := range 400 {
		document, asked, err := world.Trace(query)
		if err != nil {
			return
		}
		if len(asked) == 0 {
			document.Wrong()
			drawn(t, document)
			return
		}
		for _, a := range asked {
			snapshots[a.Machine].Answers = append(snapshots[a.Machine].Answers, guess(a.Question, seed+round))
		}
	}
	t.Error("the trace has no end")
}

var kinds = []string{"veth", "bridge", "bond", "vlan", "vrf", "macvlan", "ipvlan", "vxlan", "ipip", "tun", "dummy", "device", "openvswitch", "", "netkit", "team"}

// change makes one thing of a Snapshot another one.
func change(s *inspect.Snapshot, what, a, b, c int) {
	ns := &s.Namespaces[a%len(s.Namespaces)]
	if len(ns.Links) == 0 {
		return
	}
	link := &ns.Links[b%len(ns.Links)]
	other := &s.Namespaces[c%len(s.Namespaces)]
	vf := c
	for i, f := range []func(){
		func() { link.Kind = kinds[c%len(kinds)] },
		func() { link.Master = c % 9 },
		func() { link.Link = &inspect.Ref{Namespace: other.Inode, Index: c % 9} },
		func() { link.Link = nil },
		func() { link.MAC = "" },
		func() { link.MAC = other.Links[c%len(other.Links)].MAC },
		func() { link.Mode = []string{"l2", "l3", "bridge", "vepa", "private"}[c%5] },
		func() { link.Addresses = other.Links[c%len(other.Links)].Addresses },
		func() { link.Up, link.Carrier = c%2 == 0, c%3 == 0 },
		func() { ns.Neighbours = nil },
		func() { ns.FDB = nil },
		func() { link.VXLAN = &inspect.VXLAN{ID: c, Lower: c % 9, Group: "239.1.1.1"} },
		func() { link.VXLAN = nil },
		func() { link.Device = &inspect.Device{VF: &vf, PF: ns.Links[0].Name} },
		func() { link.Bridge = &inspect.Bridge{VLANFiltering: true, DefaultPVID: c % 3} },
		func() {
			link.Port = &inspect.Port{VLANs: []inspect.PortVLAN{{ID: c % 3, PVID: true, Untagged: c%2 == 0}}}
		},
		func() { link.VLAN = c % 3 },
		func() { ns.Host = !ns.Host },
		func() { ns.Routes = nil },
		func() { link.Index = 100 + c },
		func() { ns.Sysctls = nil },
		func() { link.MTU = c },
	} {
		if i == what%22 {
			f()
		}
	}
}

// guess makes an answer up.
func guess(q inspect.Question, seed int) inspect.Answer {
	route := &inspect.Route{Family: 4, To: "default", Index: seed % 9, Type: []string{"", "local", "unicast", "blackhole"}[seed%4]}
	if seed%3 == 0 {
		route.Via = q.To
	}
	if seed%7 == 0 {
		return inspect.Answer{Question: q, Refused: []string{"EINVAL", "EXDEV", "ENETUNREACH", "EHOSTUNREACH", "EACCES"}[seed%5]}
	}
	return inspect.Answer{Question: q, Route: route, Match: route}
}
