package plan

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// There are no definitions to be faulted: so many are not even looked at.
func TestPlanOfTooManyNetworks(t *testing.T) {
	bad := `{"cniVersion": "1.0.0", "type": "/bad", "pad": "` + strings.Repeat("x", 10000) + `"}`
	for name, annotation := range map[string]string{
		"short form": strings.Repeat("a,", 131071) + "a",
		"JSON":       `[` + strings.Repeat(`{"name":"a"},`, 20000) + `{"name":"a"}]`,
		"bad names":  strings.Repeat("A,", 131071) + "A",
		"no names":   `[` + strings.Repeat(`{},`, 87000) + `{}]`,
	} {
		t.Run(name, func(t *testing.T) {
			world := planWorld{config: podnet, networks: map[string]string{"default/a": bad}, annotations: annotated(annotation)}
			got := world.make(t)
			checkRefusal(t, got, &refusal{want: []string{types.AnnotationNetworks, "at most 128"}})
			if message := got.err.Error(); len(message) > 300 || strings.Contains(message, "default/a") {
				t.Errorf("%d bytes: %.300s", len(message), message)
			}
		})
	}
}

func TestPlanOfAsManyNetworksAsMayBe(t *testing.T) {
	world := planWorld{config: podnet, networks: map[string]string{"default/a": single("bridge")}, annotations: annotated(strings.Repeat("a,", types.MaxNetworks-1) + "a")}
	if got := world.make(t); got.err != nil || len(got.plan.Attachments) != 1+types.MaxNetworks {
		t.Errorf("%d networks: %v", types.MaxNetworks, got.err)
	}
}

// Every one of them has a fault, and a message has room for a few.
func TestPlanOfManyFaults(t *testing.T) {
	world := planWorld{config: podnet, networks: map[string]string{"default/a": `{"cniVersion": "1.0.0", "type": "nosuch"}`}, annotations: annotated(strings.Repeat("a,", types.MaxNetworks-1) + "a")}
	got := world.make(t)
	checkRefusal(t, got, &refusal{want: []string{"network default/a: ", `"nosuch"`, "and 118 more"}})
	if n := strings.Count(got.err.Error(), "network default/a: "); n != 10 {
		t.Errorf("%d faults are told of", n)
	}
}

// What flannel's delegate delegates to would escape every check of ours.
func TestPlanFlannelWithinFlannel(t *testing.T) {
	const policy = podnet + `, "allowedPlugins": {"*": ["flannel", "bridge", "host-local"]}`
	runRefused(t, map[string]refusal{
		"nested": {planWorld{config: policy, annotations: annotated("a"), networks: map[string]string{
			"default/a": `{"cniVersion":"1.0.0","type":"flannel","delegate":{"type":"flannel","delegate":{"type":"evil"}}}`,
		}}, []string{"network default/a: ", "delegate.type: must not be flannel again"}, 0},
		"in a list": {planWorld{config: policy, annotations: annotated("a"), networks: map[string]string{
			"default/a": `{"cniVersion":"1.0.0","plugins":[{"type":"bridge"},{"type":"flannel","delegate":{"type":"flannel"}}]}`,
		}}, []string{"network default/a: ", "delegate.type: must not be flannel again"}, 0},
		"one that is not allowed": {planWorld{config: policy, annotations: annotated("a"), networks: map[string]string{
			"default/a": `{"cniVersion":"1.0.0","type":"flannel","delegate":{"type":"evil"}}`,
		}}, []string{"network default/a: ", `"evil" is not allowed`}, 0},
	})
	world := planWorld{config: policy, annotations: annotated("a"), networks: map[string]string{"default/a": `{"cniVersion":"1.0.0","type":"flannel","delegate":{"type":"bridge"}}`}}
	if got := world.make(t); got.err != nil {
		t.Errorf("a plain one: %v", got.err)
	}
}

// A definition gives its plugins no result: only the one before does.
func TestPlanDropsPrevResult(t *testing.T) {
	const forged = `"prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.9/24"}]}`
	for name, config := range map[string]string{
		"single":        `{"cniVersion": "1.0.0", "type": "bridge", ` + forged + `}`,
		"list":          `{"cniVersion": "1.0.0", "plugins": [{"type": "bridge", ` + forged + `}, {"type": "tuning", ` + forged + `}]}`,
		"in other case": strings.Replace(`{"cniVersion": "1.0.0", "type": "bridge", `+forged+`}`, "prevResult", "PrevResult", 1),
	} {
		t.Run(name, func(t *testing.T) {
			for _, a := range specAttachments(t, specPlan(t, "a", map[string]string{"default/a": config})) {
				if strings.Contains(strings.ToLower(a.Config), "prevresult") {
					t.Errorf("planned: %s", a.Config)
				}
			}
		})
	}
}

// Of the pod's networks and of the node's own alike: each plugin gets all that the pod asks.
func TestPlanOfAListOfTooManyPlugins(t *testing.T) {
	list := func(n int) string {
		return `{"cniVersion": "1.0.0", "name": "long", "plugins": [` + strings.Repeat(`{"type": "bridge"},`, n-1) + `{"type": "tuning"}]}`
	}
	for name, world := range map[string]func(n int) planWorld{
		"of the pod": func(n int) planWorld {
			return planWorld{config: podnet, networks: map[string]string{"default/a": list(n)}, annotations: annotated("a")}
		},
		"of the node": func(n int) planWorld {
			return planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": list(n)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			most, more := world(types.MaxPlugins), world(types.MaxPlugins+1)
			if got := most.make(t); got.err != nil {
				t.Errorf("at the limit: %v", got.err)
			}
			checkRefusal(t, more.make(t), &refusal{want: []string{"plugins: has 65 plugins, a list may have at most 64"}})
		})
	}
}
