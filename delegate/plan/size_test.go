package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// longList is a network with as many plugins as a list may have, or fewer.
func longList(plugins int) string {
	plugin := `{"type": "tuning", "capabilities": {"ips": true, "portMappings": true}}`
	return `{"cniVersion": "1.0.0", "name": "long", "plugins": [` + strings.TrimSuffix(strings.Repeat(plugin+",", plugins), ",") + `]}`
}

// What the plugins get is bounded, whatever of the annotation makes it large. Each input is as
// much as may be, or nearly, and then too much.
func TestPlanOfMoreThanPluginsMayGet(t *testing.T) {
	elements := func(value string) map[string]string { return annotated(`[{"name":"a",` + value + `}]`) }
	for name, tc := range map[string]struct {
		annotations func(n int) map[string]string
		most, more  int
	}{
		"arguments": {func(n int) map[string]string { return elements(`"cni-args":{"k":"` + strings.Repeat("<", n) + `"}`) }, 15000, 16400},
		"many arguments": {func(n int) map[string]string {
			return elements(`"cni-args":{` + repeated(n, `"%04x":"0123456789"`) + `}`)
		}, 900, 1024},
		"addresses": {func(n int) map[string]string {
			return elements(`"ips":[` + repeated(n, `"fd00:1111:2222:3333:4444:5555:6666:%04x"`) + `]`)
		}, 300, 500},
		"port mappings": {func(n int) map[string]string {
			return elements(`"portMappings":[` + repeated(n, `{"hostPort":1%04d,"containerPort":1}`) + `]`)
		}, 200, 300},
		"many networks": {func(n int) map[string]string {
			return annotated("[" + repeated(n, `{"name":"a","cni-args":{"k%d":"`+strings.Repeat("x", 500)+`"}}`) + "]")
		}, 20, 60},
		"many of a large network": {func(n int) map[string]string { return annotated(strings.Repeat("large,", n-1) + "large") }, 10, 11},
		"the default network": {func(n int) map[string]string {
			return map[string]string{types.AnnotationDefaultNetwork: `[{"name":"a","cni-args":{"k":"` + strings.Repeat("x", n) + `"}}]`}
		}, 15000, 16400},
	} {
		t.Run(name, func(t *testing.T) {
			world := func(n int) *plannedWorld {
				w := planWorld{config: podnet, annotations: tc.annotations(n), networks: map[string]string{
					"default/a": longList(types.MaxPlugins), "kube-system/a": longList(types.MaxPlugins),
					"default/large": `{"cniVersion": "1.0.0", "name": "large", "type": "tuning", "pad": "` + strings.Repeat("x", 100_000) + `"}`,
				}}
				return w.make(t)
			}
			if got := world(tc.most); got.err != nil {
				t.Errorf("at the limit: %.300v", got.err)
			}
			got := world(tc.more)
			checkRefusal(t, got, &refusal{want: []string{"network ", fmt.Sprintf("the plugins of the pod get more than %d bytes", maxSelected)}})
			if n := strings.Count(got.err.Error(), "network "); n > 2 {
				t.Errorf("one fault is enough: %.1000v", got.err)
			}
		})
	}
}

// An annotation that is as large as may be is not planned for each plugin of a long list: for 64
// plugins that would be 64 times the work.
func TestPlanWorkOfALongList(t *testing.T) {
	for _, shape := range []string{"long arguments", "arguments of many"} {
		t.Run(shape, func(t *testing.T) {
			work := func(plugins int) uint64 {
				p := newAnnotatedPlan(t, shapes[shape](maxAnnotations))
				p.facts.Networks[0].Config = longList(plugins)
				return p.work(t)
			}
			if one, many := work(1), work(types.MaxPlugins); many > 4*one {
				t.Errorf("%d bytes of work for one plugin, %d for %d", one, many, types.MaxPlugins)
			}
		})
	}
}
