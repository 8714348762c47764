package plan

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// What a user wrote is told from what the node lacks, and from what the node's administrator wrote.
func TestPlanFaults(t *testing.T) {
	selects := func(config string) planWorld {
		return planWorld{config: podnet, annotations: annotated("n"), networks: map[string]string{"default/n": config}}
	}
	node := func(config string) planWorld {
		return planWorld{config: config, annotations: annotated("n"), facts: missing("default/n")}
	}
	for name, tc := range map[string]struct {
		world planWorld
		want  string // "" for what the code says
	}{
		"a comma too many":       {planWorld{config: podnet, annotations: annotated("a,")}, ""},
		"no such network":        {planWorld{config: podnet, annotations: annotated("n"), facts: missing("default/n")}, ""},
		"not a configuration":    {selects(`{"typ": "bridge"}`), ""},
		"isolation":              {planWorld{config: podnet + `, "namespaceIsolation": true`, annotations: annotated("kube-system/n"), facts: missing("kube-system/n")}, ""},
		"a plugin not allowed":   {withConfig(selects(single("bridge")), podnet+`, "allowedPlugins": {"other": ["bridge"]}`), ""},
		"neither there":          {withConfig(selects(single("ghost")), podnet+`, "allowedPlugins": {"other": ["bridge"]}`), ""},
		"a plugin not there":     {selects(single("ghost")), types.FaultNetwork},
		"an IPAM plugin":         {selects(`{"type": "bridge", "ipam": {"type": "ghost"}}`), types.FaultNetwork},
		"the default network's":  {node(`"delegates": [` + single("ghost") + `]`), types.FaultNode},
		"no default network":     {node(`"clusterNetwork": "$DIR/net.d/gone.conf"`), types.FaultNode},
		"a network of every pod": {node(podnet + `, "defaultNetworks": ["$DIR/net.d/gone.conf"]`), types.FaultNode},
		"a broken delegate":      {node(`"delegates": [{"name": "x", "plugins": 1}]`), types.FaultNode},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.world.make(t)
			if got.err == nil {
				t.Fatal("it is planned")
			}
			check.Equal(t, "fault", types.FaultOf(got.err), tc.want)
			check.Equal(t, "code", types.CodeOf(got.err, 0), types.CodeInvalidConfig)
		})
	}
}

func withConfig(w planWorld, config string) planWorld {
	w.config = config
	return w
}

// The node's own networks are told from those that the pod selects, its first one included.
func TestPlanSelected(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        []bool
	}{
		"none":             {nil, []bool{false}},
		"one":              {annotated("n"), []bool{false, true}},
		"the default, too": {map[string]string{types.AnnotationDefaultNetwork: "kube-system/n"}, []bool{true}},
		"both":             {map[string]string{types.AnnotationDefaultNetwork: "kube-system/n", types.AnnotationNetworks: "n"}, []bool{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			networks := map[string]string{"default/n": single("bridge"), "kube-system/n": single("bridge")}
			world := planWorld{config: podnet, annotations: tc.annotations, networks: networks}
			got := world.make(t)
			check.Must(t, got.err)
			var selected []bool
			for _, a := range got.plan.Attachments {
				selected = append(selected, a.Selected)
			}
			check.Equal(t, "selected", selected, tc.want)
		})
	}
}
