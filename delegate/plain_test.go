package delegate

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// A pod is plain that gets its default network alone: the events of such pods are left out.
func TestIsPlain(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations map[string]string
		change      func(*types.Config)
		want        bool
	}{
		"nothing asked":            {nil, nil, true},
		"an annotation of another": {map[string]string{"app": "web"}, nil, true},
		"a network":                {map[string]string{types.AnnotationNetworks: "second"}, nil, false},
		"another default network":  {map[string]string{types.AnnotationDefaultNetwork: "second"}, nil, false},
		"no delegate":              {nil, func(c *types.Config) { c.Delegates = nil }, true},
		"two delegates":            {nil, func(c *types.Config) { c.Delegates = append(c.Delegates, json.RawMessage("{}")) }, false},
		"a network of every pod":   {nil, func(c *types.Config) { c.DefaultNetworks = []string{"second"} }, false},
		"an auxiliary chain":       {nil, func(c *types.Config) { c.AuxiliaryCNIChainName = "chain" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			if tc.change != nil {
				tc.change(n.engine.Config)
			}
			if got := n.engine.isPlain(tc.annotations); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
