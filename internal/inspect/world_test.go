package inspect

// Namespaces of the hand-written snapshot.
const (
	hostNS = 1
	podA   = 100
	podB   = 200
)

// healthy gives a node with the pods a and b: eth0 on the bridge cbr0 with the default route,
// net0 a macvlan of up0. Both pods have the same indexes. The VTEP vx0 leaves by up0.
func healthy() *Snapshot {
	s := New()
	s.Machine = Machine{Hostname: "node1", Kernel: "6.18.0"}
	s.Namespaces = []Namespace{host(), pod(podA, "a", "2", 5), pod(podB, "b", "3", 6)}
	s.Records = []Record{record(podA, "a", "2"), record(podB, "b", "3")}
	return s
}

func up(index int, name, kind string, mtu int) Link {
	return Link{
		Index: index, Name: name, Kind: kind, MTU: mtu, Up: true, Carrier: true, OperState: "up", Flags: []string{"BROADCAST", "UP", "LOWER_UP"},
		MAC: "02:00:00:00:00:0" + string(rune('0'+index)), Statistics: &Statistics{},
	}
}

func host() Namespace {
	up0, cbr0, vx0 := up(3, "up0", "device", 1500), up(4, "cbr0", "bridge", 1500), up(7, "vx0", "vxlan", 1450)
	up0.Addresses = []Address{{"192.0.2.1/24", "global"}}
	cbr0.Addresses = []Address{{"10.1.0.1/16", "global"}}
	cbr0.Bridge = &Bridge{}
	vx0.VXLAN = &VXLAN{ID: 1, Local: "192.0.2.1", Lower: 3}
	ns := Namespace{Inode: hostNS, Host: true, Links: []Link{up0, cbr0, vx0}, Sysctls: map[string]string{
		"net.ipv4.conf.cbr0.forwarding": "1", "net.ipv4.conf.veth5.proxy_arp": "0", "net.ipv6.conf.all.forwarding": "0",
	}}
	ns.Routes = []Route{{Table: mainTable, Family: 4, To: "default", Via: "192.0.2.254", Index: 3}}
	ns.Neighbours = []Neighbour{{Index: 7, Address: "10.8.0.0", MAC: "02:00:00:00:00:99", State: "permanent"}}
	ns.FDB = []FDBEntry{{Index: 7, MAC: "02:00:00:00:00:99", Destination: "192.0.2.9", Self: true}}
	ns.Links = append(ns.Links, hostEnd(5, "veth5", podA), hostEnd(6, "veth6", podB))
	return ns
}

func hostEnd(index int, name string, of uint64) Link {
	veth := up(index, name, "veth", 1500)
	veth.Master, veth.Link, veth.Port = 4, &Ref{of, 2}, &Port{State: "forwarding"}
	return veth
}

func pod(inode uint64, name, last string, hostEnd int) Namespace {
	lo, eth0, net0 := up(1, "lo", "device", 65536), up(2, "eth0", "veth", 1500), up(3, "net0", "macvlan", 1500)
	lo.Flags = append(lo.Flags, "LOOPBACK")
	eth0.Link, eth0.Addresses = &Ref{hostNS, hostEnd}, []Address{{"10.1.0." + last + "/16", "global"}}
	net0.Link, net0.Addresses, net0.Mode = &Ref{hostNS, 3}, []Address{{"10.2.0." + last + "/16", "global"}}, "bridge"
	return Namespace{
		Inode: inode, Paths: []string{"/run/netns/" + name}, Sandbox: &Sandbox{ContainerID: "c-" + name, Pod: "default/" + name},
		Links: []Link{lo, eth0, net0, {Index: 4, Name: "tunl0", Kind: "ipip", MTU: 1480}},
		Routes: []Route{
			{Table: mainTable, Family: 4, To: "default", Via: "10.1.0.1", Index: 2},
			{Table: mainTable, Family: 4, To: "10.2.0.0/16", Index: 3},
		},
		Sysctls: map[string]string{"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.net0.rp_filter": "2"},
	}
}

func record(inode uint64, name, last string) Record {
	return Record{
		Sandbox: Sandbox{ContainerID: "c-" + name, Pod: "default/" + name}, Network: "cluster", Interface: "eth0",
		Path: "/run/netns/" + name, Inode: inode, Live: true, Complete: true,
		Attachments: []Attachment{
			{
				Network: "cbr0", Interface: "eth0", Plugins: []string{"bridge"}, Attached: true,
				Interfaces: []RecordedInterface{{Name: "cbr0"}, {Name: map[string]string{"a": "veth5", "b": "veth6"}[name]}, {Name: "eth0", InSandbox: true}},
				Addresses:  []RecordedAddress{{Address: "10.1.0." + last + "/16", Gateway: "10.1.0.1", Interface: "eth0"}},
			},
			{
				Network: "default/mac", Interface: "net0", Plugins: []string{"macvlan"}, Attached: true,
				Interfaces: []RecordedInterface{{Name: "net0", InSandbox: true}},
				Addresses:  []RecordedAddress{{Address: "10.2.0." + last + "/16", Interface: "net0"}},
			},
		},
	}
}

// ns gives a namespace of the snapshot.
func (s *Snapshot) ns(inode uint64) *Namespace {
	for i := range s.Namespaces {
		if s.Namespaces[i].Inode == inode {
			return &s.Namespaces[i]
		}
	}
	panic("no such namespace")
}

// at gives an interface of the snapshot.
func (s *Snapshot) at(inode uint64, name string) *Link { return s.ns(inode).LinkNamed(name) }
