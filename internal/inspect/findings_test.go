package inspect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func found(s *Snapshot) []string {
	graph, all := NewGraph(s), []string{}
	for _, f := range Findings(s) {
		name := "-"
		if link := graph.Link(f.At); link != nil {
			name = link.Name
		}
		all = append(all, fmt.Sprintf("%s %s: %s, %s", f.Severity, f.ID, graph.Namespace(f.At.Namespace).Title(), name))
	}
	return all
}

// findingCases has what each finding is of, and what is close to it and no fault.
var findingCases = map[string]struct {
	breakIt func(*Snapshot)
	want    []string
}{
	"a healthy node": {func(*Snapshot) {}, []string{}},
	"host end off the bridge that has the gateway": {func(s *Snapshot) {
		s.at(hostNS, "veth5").Master = 0
		s.Records = nil
	}, []string{"error host-end-off-bridge: pod default/a, eth0"}},
	"host end off the bridge that the record names": {func(s *Snapshot) {
		s.at(hostNS, "veth5").Master = 0
		s.at(hostNS, "cbr0").Addresses = nil
	}, []string{"error host-end-off-bridge: pod default/a, eth0"}},
	"host end that is routed": {func(s *Snapshot) {
		s.at(hostNS, "veth5").Master = 0
		s.at(hostNS, "veth5").Addresses, s.at(hostNS, "cbr0").Addresses = s.at(hostNS, "cbr0").Addresses, nil
		s.Records = nil
	}, []string{}},
	"interface of a record is down": {func(s *Snapshot) {
		net0 := s.at(podA, "net0")
		net0.Up, net0.Carrier, net0.Addresses = false, false, nil
	}, []string{"error interface-down: pod default/a, net0", "error address-missing: pod default/a, net0"}},
	"interface of nobody's record is down": {func(s *Snapshot) {
		s.Records = nil
		s.at(podA, "net0").Up = false
	}, []string{"error interface-down: pod default/a, net0"}},
	"carrier lost": {
		func(s *Snapshot) { s.at(podA, "eth0").Carrier = false },
		[]string{"error no-carrier: pod default/a, eth0"},
	},
	"a bridge in a pod without ports": {func(s *Snapshot) {
		s.ns(podA).Links = append(s.ns(podA).Links, Link{Index: 9, Name: "docker0", Kind: "bridge", Up: true, MTU: 1500})
	}, []string{}},
	"parent without carrier": {func(s *Snapshot) {
		s.at(hostNS, "up0").Carrier, s.at(podA, "net0").Carrier = false, false
		s.Records, s.ns(podB).Links = nil, nil
	}, []string{"error parent-down: pod default/a, net0"}},
	"parent of a VLAN in the pod is down": {func(s *Snapshot) {
		s.ns(podA).Links = append(s.ns(podA).Links, Link{Index: 9, Name: "v9", Kind: "vlan", VLAN: 9, Up: true, Link: &Ref{podA, 4}})
	}, []string{"error parent-down: pod default/a, v9"}},
	"bridge down": {
		func(s *Snapshot) { s.at(hostNS, "cbr0").Up = false },
		[]string{"error bridge-down: pod default/a, eth0", "error bridge-down: pod default/b, eth0"},
	},
	"MTU above the host end's": {
		func(s *Snapshot) { s.at(podA, "eth0").MTU = 1501 },
		[]string{"error mtu-above-host-side: pod default/a, eth0"},
	},
	"MTU below the host end's": {func(s *Snapshot) { s.at(podA, "eth0").MTU = 1400 }, []string{}},
	"MTU above the bridge's": {
		func(s *Snapshot) { s.at(hostNS, "cbr0").MTU, s.at(podB, "eth0").MTU = 1499, 1400 },
		[]string{"warning mtu-above-bridge: pod default/a, eth0"},
	},
	"MTU of the overlay": {
		func(s *Snapshot) { s.at(hostNS, "up0").MTU = 1499 },
		[]string{"error overlay-mtu: the node, vx0"},
	},
	"MTU of the overlay over IPv6": {
		func(s *Snapshot) { s.at(hostNS, "vx0").VXLAN.Local = "2001:db8::1" },
		[]string{"error overlay-mtu: the node, vx0"},
	},
	"FDB entry missing": {
		func(s *Snapshot) { s.ns(hostNS).FDB = nil },
		[]string{"error vtep-fdb-missing: the node, vx0"},
	},
	"FDB entry for all": {func(s *Snapshot) { s.ns(hostNS).FDB[0].MAC = "00:00:00:00:00:00" }, []string{}},
	"neighbour of a VTEP missing": {func(s *Snapshot) {
		s.ns(hostNS).Routes = append(s.ns(hostNS).Routes, Route{Table: mainTable, Family: 4, To: "10.8.0.0/24", Via: "10.8.0.0", Index: 7})
		s.ns(hostNS).Neighbours[0].MAC, s.ns(hostNS).Neighbours[0].State = "", "failed"
	}, []string{"error vtep-neighbour-missing: the node, vx0"}},
	"neighbour of a VTEP that is there": {func(s *Snapshot) {
		s.ns(hostNS).Routes = append(s.ns(hostNS).Routes, Route{Table: mainTable, Family: 4, To: "10.8.0.0/24", Via: "10.8.0.0", Index: 7})
	}, []string{}},
	"neighbour of a VTEP that floods": {func(s *Snapshot) {
		s.ns(hostNS).Routes = append(s.ns(hostNS).Routes, Route{Table: mainTable, Family: 4, To: "10.8.0.0/24", Via: "10.8.0.0", Index: 7})
		s.ns(hostNS).Neighbours, s.ns(hostNS).FDB[0].MAC = nil, "00:00:00:00:00:00"
	}, []string{}},
	"FDB of a VTEP that learns": {func(s *Snapshot) {
		s.ns(hostNS).FDB = nil
		s.at(hostNS, "vx0").VXLAN.Learning = true
	}, []string{}},
	"interface gone": {
		func(s *Snapshot) { s.at(podA, "net0").Name = "other" },
		[]string{"error interface-gone: pod default/a, -"},
	},
	"interface gone of a result without interfaces": {func(s *Snapshot) {
		s.at(podA, "net0").Name = "other"
		s.Records[0].Attachments[1].Interfaces = nil
	}, []string{"error interface-gone: pod default/a, -"}},
	"interface gone of a device, which a program may drive": {func(s *Snapshot) {
		s.at(podA, "net0").Name = "other"
		s.Records[0].Attachments[1].DeviceID = "0000:01:10.0"
	}, []string{}},
	"vhost-user port, which is no interface of the kernel": {func(s *Snapshot) {
		s.at(podA, "net0").Name = "other"
		s.Records[0].Attachments[1].Interfaces[0].Socket = "/run/vhost/net0.sock"
	}, []string{}},
	"plugin that made no interface": {func(s *Snapshot) {
		s.at(podA, "net0").Name = "other"
		s.Records[0].Attachments[1].Interfaces, s.Records[0].Attachments[1].Addresses = nil, nil
	}, []string{}},
	"interface gone of an ADD under way": {func(s *Snapshot) {
		s.at(podA, "net0").Name = "other"
		s.Records[0].Complete = false
	}, []string{}},
	"address missing": {
		func(s *Snapshot) { s.at(podA, "eth0").Addresses[0].Address = "10.1.0.9/16" },
		[]string{"error address-missing: pod default/a, eth0"},
	},
	"one address on a bridge": {func(s *Snapshot) {
		s.Records = nil
		s.at(podB, "eth0").Addresses = s.at(podA, "eth0").Addresses
	}, []string{"error duplicate-address: pod default/b, eth0"}},
	"one address in two VLANs of a bridge": {func(s *Snapshot) {
		s.Records = nil
		s.at(podB, "eth0").Addresses = s.at(podA, "eth0").Addresses
		s.at(hostNS, "cbr0").Bridge.VLANFiltering = true
		s.at(hostNS, "veth5").Port.VLANs = []PortVLAN{{ID: 10, PVID: true}}
		s.at(hostNS, "veth6").Port.VLANs = []PortVLAN{{ID: 20, PVID: true}}
	}, []string{}},
	"one address in one VLAN of a bridge": {func(s *Snapshot) {
		s.Records = nil
		s.at(podB, "eth0").Addresses = s.at(podA, "eth0").Addresses
		s.at(hostNS, "cbr0").Bridge.VLANFiltering = true
		s.at(hostNS, "veth5").Port.VLANs = []PortVLAN{{ID: 20}, {ID: 10, PVID: true}}
		s.at(hostNS, "veth6").Port.VLANs = []PortVLAN{{ID: 10, PVID: true}}
	}, []string{"error duplicate-address: pod default/b, eth0"}},
	"gateway that failed": {func(s *Snapshot) {
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", State: "failed"}, {Index: 2, Address: "10.1.0.77", State: "failed"}}
	}, []string{"warning gateway-unresolved: pod default/a, eth0"}},
	"gateway that nobody has, and no route to it": {func(s *Snapshot) {
		nobodysGateway(s)
		s.ns(hostNS).Routes[0].To = "198.51.100.0/24"
	}, []string{"error proxy-arp-without-route: pod default/a, eth0"}},
	"gateway that nobody has, and only a blackhole to it": {func(s *Snapshot) {
		nobodysGateway(s)
		s.ns(hostNS).Routes[0].Type = "blackhole"
	}, []string{"error proxy-arp-without-route: pod default/a, eth0"}},
	"gateway that nobody has, and a route to it": {nobodysGateway, []string{}},
	"forwarding off": {
		func(s *Snapshot) { s.ns(hostNS).Sysctls["net.ipv4.conf.cbr0.forwarding"] = "0" },
		[]string{"warning forwarding-off: pod default/a, eth0", "warning forwarding-off: pod default/b, eth0"},
	},
	"forwarding off at a host end that answers by proxy ARP": {func(s *Snapshot) {
		nobodysGateway(s)
		s.ns(hostNS).Sysctls["net.ipv4.conf.veth5.forwarding"] = "0"
	}, []string{"warning forwarding-off: pod default/a, eth0"}},
	"forwarding of IPv6 off": {func(s *Snapshot) {
		s.at(hostNS, "cbr0").Addresses = append(s.at(hostNS, "cbr0").Addresses, Address{"fd00::1/64", "global"})
		s.ns(podA).Routes = append(s.ns(podA).Routes, Route{Table: mainTable, Family: 6, To: "default", Via: "fd00::1", Index: 2})
	}, []string{"warning forwarding-off: pod default/a, eth0"}},
	"strict filter": {
		func(s *Snapshot) { s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1" },
		[]string{"notice rp-filter-strict: pod default/a, net0"},
	},
	"strict filter of all": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"], s.ns(podA).Sysctls["net.ipv4.conf.all.rp_filter"] = "0", "1"
	}, []string{"notice rp-filter-strict: pod default/a, net0"}},
	"loose filter, which the larger value makes of strict": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.all.rp_filter"] = "1"
	}, []string{}},
	"strict filter with a rule": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1"
		s.ns(podA).Rules = []Rule{{Priority: 100, Family: 4, From: "10.2.0.2/32", Table: 100}}
	}, []string{}},
	"strict filter with a rule for another": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1"
		s.ns(podA).Rules = []Rule{{Priority: 100, Family: 4, From: "10.2.0.77/32", Table: 100}}
	}, []string{"notice rp-filter-strict: pod default/a, net0"}},
	"legacy tables beside others": {func(s *Snapshot) {
		s.ns(hostNS).Netfilter = Netfilter{Legacy: []string{"ip filter"}, NFT: []string{"inet x"}}
	}, []string{"warning legacy-iptables: the node, -"}},
	"legacy tables alone": {
		func(s *Snapshot) { s.ns(hostNS).Netfilter = Netfilter{Legacy: []string{"ip filter"}} },
		[]string{"notice legacy-iptables: the node, -"},
	},
}

// nobodysGateway makes pod a one of Calico's.
func nobodysGateway(s *Snapshot) {
	s.Records = nil
	s.at(hostNS, "veth5").Master = 0
	s.ns(hostNS).Sysctls["net.ipv4.conf.veth5.proxy_arp"] = "1"
	s.ns(podA).Routes[0].Via = "169.254.1.1"
}

func TestFindings(t *testing.T) {
	for name, test := range findingCases {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			test.breakIt(s)
			check.Equal(t, "findings", found(s), test.want)
		})
	}
}

// Each finding of the catalogue has a case, and says what was seen and what to do.
func TestFindingsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for name, test := range findingCases {
		s := healthy()
		test.breakIt(s)
		for _, f := range Findings(s) {
			seen[f.ID] = true
			if f.Text == "" || f.Do == "" || len(f.Evidence) == 0 {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	for _, entry := range Catalogue {
		if !seen[entry.ID] || entry.Meaning == "" || !slices.Contains(severities, entry.Severity) {
			t.Errorf("%s is not whole, or no case has it", entry.ID)
		}
	}
}

// Advice that is a command has the names in it, so that it can be typed as it stands.
func TestAdviceNamesInterfaces(t *testing.T) {
	for want, breakIt := range map[string]func(*Snapshot){
		"`ip link set eth0 up`":           func(s *Snapshot) { s.at(podA, "eth0").Up = false },
		"`ip link set net0 up`":           func(s *Snapshot) { s.at(podA, "net0").Up = false },
		"`ip link set cbr0 up`":           func(s *Snapshot) { s.at(hostNS, "cbr0").Up = false },
		"`ip link set veth5 master cbr0`": func(s *Snapshot) { s.at(hostNS, "veth5").Master = 0 },
	} {
		s := healthy()
		breakIt(s)
		check.Contains(t, "advice", Findings(s)[0].Do, want)
	}
}

// A pod is shown its own findings and those of the node, through which its packets go.
func TestFindingsOf(t *testing.T) {
	s := healthy()
	s.at(podA, "net0").Up = false
	s.at(podB, "eth0").MTU = 9000
	s.ns(hostNS).FDB = nil
	s.at(podB, "net0").Addresses = append(s.at(podB, "net0").Addresses, s.at(podA, "net0").Addresses...)
	for inode, want := range map[uint64][]string{
		podA: {"vtep-fdb-missing", "interface-down", "duplicate-address"},
		podB: {"mtu-above-host-side", "vtep-fdb-missing", "duplicate-address"},
	} {
		got := []string{}
		for _, f := range FindingsOf(Findings(s), s, inode) {
			got = append(got, f.ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		check.Equal(t, fmt.Sprint("findings of ", inode), got, want)
	}
	check.Equal(t, "a notice is no fault", Wrong([]Finding{{Severity: Notice}}), false)
	check.Equal(t, "a warning is one", Wrong([]Finding{{Severity: Notice}, {Severity: Warning}}), true)
}

// The page is what the program says. Run the test with -update after a change.
func TestFindingsPage(t *testing.T) {
	check.Golden(t, "../../docs/findings.md", []byte(FindingsPage()))
}
