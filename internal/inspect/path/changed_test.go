package path_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// ofDocs gives the snapshots of a picture of the docs, and what it asks.
func ofDocs(t *testing.T, name string) ([]*inspect.Snapshot, path.Query) {
	t.Helper()
	var query path.Query
	data, err := os.ReadFile(filepath.Join(docs, name, "question.json"))
	check.Must(t, err)
	check.Must(t, json.Unmarshal(data, &query))
	return snapshotsOf(t, filepath.Join(docs, name, "node*.json")), query
}

// link gives an interface of the node, or of any namespace.
func link(t *testing.T, s *inspect.Snapshot, name string) *inspect.Link {
	t.Helper()
	for i := range s.Namespaces {
		if found := s.Namespaces[i].LinkNamed(name); found != nil {
			return found
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// vf gives how the PF of net1 of the picture of SR-IOV treats that VF.
func vf(t *testing.T, s *inspect.Snapshot) *inspect.VF {
	t.Helper()
	device := link(t, s, "net1").Device
	pf := link(t, s, device.PF)
	for i := range pf.VFs {
		if pf.VFs[i].Index == *device.VF {
			return &pf.VFs[i]
		}
	}
	t.Fatal("the PF does not have the VF")
	return nil
}

// What docs/path.md says is asked at a hop decides there: a real path is broken in one place each time.
func TestTraceOfBrokenHops(t *testing.T) {
	for name, test := range map[string]struct {
		picture string
		breakIt func(*inspect.Snapshot)
		outcome path.Outcome
		reason  string
	}{
		"a VF whose link is disabled": {
			"sriov", func(s *inspect.Snapshot) { vf(t, s).State = "disable" }, path.Lost, "has the link of VF",
		},
		"a VF with another MAC than the PF's": {
			"sriov", func(s *inspect.Snapshot) { vf(t, s).MAC, vf(t, s).Spoofchk = "02:00:00:00:00:77", true }, path.Lost, "the NIC drops frames of VF",
		},
		"the same, unchecked": {
			"sriov", func(s *inspect.Snapshot) { vf(t, s).MAC, vf(t, s).Spoofchk = "02:00:00:00:00:77", false }, path.Arrives, "",
		},
		"a VF in another VLAN": {
			"sriov", func(s *inspect.Snapshot) { vf(t, s).VLAN = 99 }, path.Lost, "it leaves pf0 with VLAN 99",
		},
		"a bond of which no member can send": {
			"bond", func(s *inspect.Snapshot) {
				for i := range s.Namespaces[0].Links {
					if member := &s.Namespaces[0].Links[i]; member.Slave != nil {
						member.Carrier = false
					}
				}
			}, path.Lost, "no member of bond0 can send",
		},
		"a parent that is down": {
			"macvlan", func(s *inspect.Snapshot) { link(t, s, "up0").Up = false }, path.Lost, "up0, the parent of net0, is down",
		},
		"a BPF program on the way out": {
			"macvlan", func(s *inspect.Snapshot) {
				link(t, s, "up0").Programs = []inspect.Program{{At: "tc egress", ID: 7, Name: "police"}}
			}, path.Unknown, "up0 hands it to the BPF program police (ID 7, tc egress)",
		},
		"a BPF program on the way in, which sees none that leave": {
			"macvlan", func(s *inspect.Snapshot) {
				link(t, s, "up0").Programs = []inspect.Program{{At: "tc ingress", ID: 7}}
			}, path.Arrives, "",
		},
		"WireGuard": {
			"flannel-vxlan", func(s *inspect.Snapshot) { link(t, s, "flannel.1").Kind = "wireguard" }, path.Unknown, "WireGuard, whose peers are not read",
		},
		"a program that has a tun interface": {
			"flannel-vxlan", func(s *inspect.Snapshot) {
				link(t, s, "flannel.1").Kind, link(t, s, "flannel.1").Tun = "tun", &inspect.Tun{Layer: 3, Program: "vpn"}
			}, path.Unknown, "flannel.1 hands it to vpn, in user space",
		},
		"a tunnel whose ends come with each packet": {
			"flannel-vxlan", func(s *inspect.Snapshot) { link(t, s, "flannel.1").VXLAN.External = true }, path.Unknown, "takes the other end from a route or a program",
		},
		"a neighbour with the MAC of the port that the frame comes in by": {
			"flannel-vxlan", func(s *inspect.Snapshot) { meansHostEnd(t, s, peerOf(t, s, "eth0")) }, path.Arrives, "",
		},
		"a neighbour with the MAC of nobody": {
			"flannel-vxlan", func(s *inspect.Snapshot) { meansHostEnd(t, s, "") }, path.Lost, "no port of cni0 leads to 10.244.0.1 (02:00:00:00:00:77)",
		},
		"a packet socket where nobody else takes the frame": {
			"bridge", func(s *inspect.Snapshot) {
				host := &s.Namespaces[0]
				end := host.LinkNamed(peerOf(t, s, "net0"))
				end.Master = 0
				host.Packets = []inspect.PacketSocket{{Index: end.Index, Protocol: 3, Program: "weaver"}}
			}, path.Unknown, "a packet socket of weaver",
		},
	} {
		t.Run(name, func(t *testing.T) {
			snapshots, query := ofDocs(t, test.picture)
			test.breakIt(snapshots[0])
			d, asked, err := path.NewWorld(snapshots...).Trace(query)
			check.Must(t, err)
			check.Equal(t, "questions", len(asked), 0)
			check.Equal(t, "outcome ("+d.There.Reason+")", d.There.Outcome, test.outcome)
			check.Contains(t, "reason", d.There.Reason, test.reason)
		})
	}
}

// meansHostEnd has every pod send what is for its gateway to the MAC of an interface of the node, or to one of nobody.
func meansHostEnd(t *testing.T, s *inspect.Snapshot, name string) {
	t.Helper()
	mac := "02:00:00:00:00:77"
	if name != "" {
		mac = link(t, s, name).MAC
	}
	for i := range s.Namespaces {
		for j := range s.Namespaces[i].Neighbours {
			if entry := &s.Namespaces[i].Neighbours[j]; !s.Namespaces[i].Host && entry.Address == "10.244.0.1" {
				entry.MAC = mac
			}
		}
	}
}

// A program that is not bound may send from another address of the interface, which has another fate.
func TestTraceNotesTheSourceOfOthers(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		notes  string
	}{
		"the kernel's choice is the address of the path": {"10.244.0.2", ""},
		"it is another":   {"172.31.9.1", "does not bind its socket to 10.244.0.2 sends from 172.31.9.1"},
		"it is not known": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			snapshots, query := ofDocs(t, "flannel-vxlan")
			for i, answer := range snapshots[0].Answers {
				if answer.From == "" && answer.To == "10.244.1.2" && answer.Input == 0 {
					snapshots[0].Answers[i].Route.Source = test.source
				}
			}
			d, _, err := path.NewWorld(snapshots...).Trace(query)
			check.Must(t, err)
			check.Equal(t, "notes", len(d.Notes), map[bool]int{true: 1}[test.notes != ""])
			if test.notes != "" {
				check.Contains(t, "note", d.Notes[0].Text, test.notes)
			}
		})
	}
}

// peerOf names the node's end of a pair whose other end is a pod's.
func peerOf(t *testing.T, s *inspect.Snapshot, name string) string {
	t.Helper()
	graph := inspect.NewGraph(s)
	for _, ns := range s.Namespaces {
		if ns.Host || ns.LinkNamed(name) == nil {
			continue
		}
		if _, end := graph.PeerOf(inspect.Ref{Namespace: ns.Inode, Index: ns.LinkNamed(name).Index}); end != nil {
			return end.Name
		}
	}
	t.Fatalf("%s has no peer", name)
	return ""
}
