package inspect

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestParse(t *testing.T) {
	data, err := healthy().Bytes()
	check.Must(t, err)
	s, err := Parse(data)
	check.Must(t, err)
	check.Equal(t, "what was written", s, healthy())
	const head = `{"apiVersion":"plexus-cni.io/v1alpha1","kind":"Snapshot",`
	for text, want := range map[string]error{
		``: ErrNoSnapshot, `{}`: ErrNoSnapshot, `[]`: ErrNoSnapshot, `{"apiVersion":"v1","kind":"Snapshot"}`: ErrNoSnapshot,
		`{"apiVersion":"plexus-cni.io/v1alpha1","kind":"Inspection"}`: ErrNoSnapshot,
		`{"kind":"Snapshot"}`: ErrNoSnapshot,
		`{"apiVersion":"plexus-cni.io/v2","kind":"Snapshot","namespaces":"newer"}`: ErrOtherVersion,
		head + `"namespaces":7}`: ErrNoSnapshot,
		// Nothing could refer to these.
		head + `"namespaces":[{"inode":5},{"inode":5}]}`:                       ErrNoSnapshot,
		head + `"namespaces":[{}]}`:                                            ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"index":2},{"index":2}]}]}`: ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"name":"eth0"}]}]}`:         ErrNoSnapshot,
		// Nobody would come to the end of these.
		head + `"namespaces":[{"inode":5,"links":[{"index":2,"master":2}]}]}`:                                                            ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"index":2,"master":3},{"index":3,"master":4},{"index":4,"master":3}]}]}`:              ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"index":2,"kind":"vlan","link":{"namespace":5,"index":2}}]}]}`:                        ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"index":2,"kind":"vxlan","vxlan":{"id":1,"lower":2}}]}]}`:                             ErrNoSnapshot,
		head + `"namespaces":[{"inode":5,"links":[{"index":2,"kind":"veth","link":{"namespace":5,"index":2}},{"index":3,"master":2}]}]}`: nil,
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	_, err = Parse([]byte(`{"apiVersion":"plexus-cni.io/v2","kind":"Snapshot"}`))
	check.Error(t, err, "plexus-cni.io/v2", "reads plexus-cni.io/v1alpha1")
}

// Whatever is in a snapshot, it is answered from, and written as it was read.
func FuzzSnapshot(f *testing.F) {
	for _, test := range findingCases {
		s := healthy()
		test.breakIt(s)
		data, err := json.Marshal(s) // without the spaces: they are much to minimise
		check.Must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		_ = Findings(s)
		for _, ns := range s.Namespaces {
			check.Must(t, NewReport(s, ns.Inode).WriteText(&strings.Builder{}, true))
		}
		for _, r := range s.Records {
			_, _ = s.FindPod(r.Pod)
			_, _ = s.FindContainer(r.ContainerID)
			_, _ = s.FindPath(r.Path)
		}
		first, err := s.Bytes()
		check.Must(t, err)
		again, err := Parse(first)
		check.Must(t, err)
		second, err := again.Bytes()
		check.Must(t, err)
		check.Equal(t, "written again", string(second), string(first))
	})
}
