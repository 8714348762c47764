//go:build linux

package collect_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// The probes of the pictures of docs/paths are what kernels do. With -keep-paths they are written anew.
func TestNetnsProbePictures(t *testing.T) {
	l := lab.New(t, twoNodes, wire+both(onWire+podOnBridge+vtep))
	names := map[string]string{l.Path("netns") + "/p1": "pod shop/web", l.Path("netns") + "/p2": "pod shop/db", `"n1"`: `"node1"`, `"n2"`: `"node2"`, " of n1": " of node1", " of n2": " of node2"}
	for _, test := range []struct{ name, do string }{
		{"answered", ""},
		{"dropped", rule("n2", "forward", "drop")},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.Script(test.do)
			file := "../../../docs/paths/probe/probed-" + test.name + ".json"
			got := l.KeepProbe(l.Send(path.Query{From: "p1", To: "p2"}, lab.Probing{Protocol: "icmp", Why: true}, "n1", "n2"), names, file)
			var want path.Document
			data, err := os.ReadFile(file)
			check.Must(t, err)
			check.Must(t, json.Unmarshal(data, &want))
			check.Equal(t, file, told(got), told(&want))
		})
	}
}

// told gives of a probe what is the same with every run.
func told(d *path.Document) (all []string) {
	for _, way := range []*path.Way{&d.There, d.Back} {
		all = append(all, lab.Told(way))
		for _, hop := range way.Hops {
			for _, p := range hop.Probed {
				all = append(all, fmt.Sprint(hop.Node, hop.Name, p.Size, p.State, p.Changes))
			}
		}
	}
	for _, shot := range d.Probe.Shots {
		all = append(all, fmt.Sprint(shot.Size, shot.Outcome, shot.Reason, shot.Do))
	}
	return append(all, d.Probe.Notes...)
}
