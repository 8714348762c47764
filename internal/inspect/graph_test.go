package inspect

import (
	"errors"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// The index alone names no interface: both pods have the same ones.
func TestGraph(t *testing.T) {
	g := NewGraph(healthy())
	name := func(_ Ref, link *Link) string {
		if link == nil {
			return ""
		}
		return link.Name
	}
	eth0, net0, vx0 := Ref{podB, 2}, Ref{podB, 3}, Ref{hostNS, 7}
	for what, got := range map[string][2]string{
		"peer of a veth":               {name(g.PeerOf(eth0)), "veth6"},
		"peer of a macvlan":            {name(g.PeerOf(net0)), ""},
		"parent of a macvlan":          {name(g.ParentOf(net0)), "up0"},
		"parent of a veth":             {name(g.ParentOf(eth0)), ""},
		"bridge of a pod's side":       {name(g.BridgeOf(eth0)), "cbr0"},
		"bridge of a port":             {name(g.BridgeOf(Ref{hostNS, 6})), "cbr0"},
		"bridge of a macvlan":          {name(g.BridgeOf(net0)), ""},
		"lower of a VTEP":              {name(g.LowerOf(vx0)), "up0"},
		"lower of a bridge":            {name(g.LowerOf(Ref{hostNS, 4})), ""},
		"owner of an address":          {name(g.OwnerOf(hostNS, "10.1.0.1")), "cbr0"},
		"owner of nobody's":            {name(g.OwnerOf(hostNS, "10.1.0.99")), ""},
		"owner of what is none":        {name(g.OwnerOf(hostNS, "")), ""},
		"peer of nobody":               {name(g.PeerOf(Ref{9, 9})), ""},
		"owner in an unread namespace": {name(g.OwnerOf(9, "10.1.0.1")), ""},
	} {
		check.Equal(t, what, got[0], got[1])
	}
	check.Equal(t, "ports", len(g.PortsOf(Ref{hostNS, 4})), 2)
	check.Equal(t, "ports of an unread bridge", len(g.PortsOf(Ref{9, 4})), 0)
}

func TestFind(t *testing.T) {
	s := healthy()
	s.Records = append(s.Records, record(300, "gone", "9"), record(podB, "a", "3"))
	s.Records[3].Created, s.Records[3].ContainerID = time.Unix(1, 0), "d-a"
	for what, test := range map[string]struct {
		find func() (uint64, error)
		want uint64
	}{
		"the newest sandbox of a pod": {func() (uint64, error) { return s.FindPod("default/a") }, podB},
		"container":                   {func() (uint64, error) { return s.FindContainer("c-a") }, podA},
		"the beginning of its ID":     {func() (uint64, error) { return s.FindContainer("d") }, podB},
		"path":                        {func() (uint64, error) { return s.FindPath("/run/netns//b") }, podB},
		"no pod":                      {func() (uint64, error) { return s.FindPod("default/x") }, 0},
		"a pod that ended":            {func() (uint64, error) { return s.FindPod("default/gone") }, 0},
		"no path":                     {func() (uint64, error) { return s.FindPath("/run/netns/x") }, 0},
	} {
		got, err := test.find()
		check.Equal(t, what, got, test.want)
		check.Equal(t, what+" is not found", errors.Is(err, ErrNotFound), test.want == 0)
	}
	_, err := s.FindContainer("c-")
	check.Error(t, err, "give more")
}

func TestSysctl(t *testing.T) {
	check.Equal(t, "a dot of the interface", Sysctl("ipv4", "bond0.5", "rp_filter"), "net.ipv4.conf.bond0/5.rp_filter")
}
