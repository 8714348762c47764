package inspect

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What the API server has of a pod counts, not what the journal believes to be published.
func TestComparePublished(t *testing.T) {
	published := []Published{
		{Network: "cbr0", Interface: "eth0", Addresses: []string{"10.1.0.2"}},
		{Network: "default/mac", Interface: "net0", Addresses: []string{"10.2.0.2"}, MAC: "02:00:00:00:00:03"},
	}
	with := func(change func(p *Published)) []Published {
		other := []Published{published[0], published[1]}
		change(&other[1])
		return other
	}
	for name, tc := range map[string]struct {
		status []Published
		state  State
		why    string
	}{
		"all":                 {published, StateOK, ""},
		"no status":           {nil, StateUnpublished, "the pod has no status of its networks"},
		"an empty one":        {[]Published{}, StateUnpublished, "the pod's status lacks net0"},
		"another order":       {[]Published{published[1], published[0]}, StateOK, ""},
		"one less":            {published[:1], StateUnpublished, "the pod's status lacks net0"},
		"another network":     {with(func(p *Published) { p.Network = "default/x" }), StateUnpublished, "the pod's status has network default/x for net0"},
		"another address":     {with(func(p *Published) { p.Addresses = []string{"10.2.0.9"} }), StateUnpublished, "the pod's status lacks 10.2.0.2/16 of net0"},
		"an address more":     {with(func(p *Published) { p.Addresses = append(p.Addresses[:1:1], "fd00::1") }), StateOK, ""},
		"another MAC":         {with(func(p *Published) { p.MAC = "02:00:00:00:00:aa" }), StateUnpublished, "the pod's status has MAC 02:00:00:00:00:aa for net0"},
		"no MAC":              {with(func(p *Published) { p.MAC = "" }), StateOK, ""},
		"an address with /16": {with(func(p *Published) { p.Addresses = []string{"10.2.0.2/16"} }), StateOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			list := NewAttachedList(healthy(), everything)
			check.Equal(t, "by the journal", list.Items[1].State, StateUnpublished)
			list.ComparePublished("default/a", tc.status)
			check.Equal(t, "state", list.Items[1].State, tc.state)
			check.Equal(t, "why", list.Items[1].Why, tc.why)
			check.Equal(t, "state of another pod", list.Items[3].State, StateUnpublished)
		})
	}
	s := healthy()
	s.at(podA, "net0").Addresses = nil
	list := NewAttachedList(s, everything)
	list.ComparePublished("default/a", published)
	check.Equal(t, "what is worse stays", list.Items[1].State, StateChanged)
}

func TestOnlyPod(t *testing.T) {
	of := func(wanted func(*Attached) bool) string {
		pod, only := NewAttachedList(healthy(), wanted).OnlyPod()
		if !only {
			return "several"
		}
		return pod
	}
	check.Equal(t, "of one pod", of(func(a *Attached) bool { return a.Pod == "default/b" }), "default/b")
	check.Equal(t, "of all", of(everything), "several")
}

func TestChanges(t *testing.T) {
	before := NewAttachedList(healthy(), everything)
	for name, tc := range map[string]struct {
		change func(*Snapshot)
		want   []string
	}{
		"nothing":           {func(*Snapshot) {}, nil},
		"counters":          {func(s *Snapshot) { s.at(podA, "net0").Statistics.RxPackets = 7 }, nil},
		"published":         {func(s *Snapshot) { s.Records[0].Published = true }, []string{"default/a eth0 ok", "default/a net0 ok"}},
		"a link went":       {func(s *Snapshot) { s.at(podA, "net0").Name = "x" }, []string{"default/a net0 gone"}},
		"an MTU":            {func(s *Snapshot) { s.at(podB, "eth0").MTU = 9000 }, []string{"default/b eth0 unpublished"}},
		"off the bridge":    {func(s *Snapshot) { s.at(hostNS, "veth6").Master = 0 }, []string{"default/b eth0 unpublished"}},
		"a pod went":        {func(s *Snapshot) { s.Records = s.Records[1:] }, []string{"default/a eth0 released", "default/a net0 released"}},
		"another container": {func(s *Snapshot) { s.Records[0].ContainerID = "new" }, []string{"default/a eth0 unpublished", "default/a net0 unpublished", "default/a eth0 released", "default/a net0 released"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			tc.change(s)
			changes := NewAttachedList(s, everything).Changes(before)
			var got []string
			for _, item := range changes.Items {
				got = append(got, item.Pod+" "+item.Interface+" "+string(item.State))
			}
			check.Equal(t, "changes", got, tc.want)
			check.Equal(t, "kind", changes.Kind, AttachedKind)
		})
	}
}
