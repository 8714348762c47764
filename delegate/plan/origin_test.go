package plan

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// Each attachment knows which input names its network, and where the configuration stands.
func TestPlanOrigins(t *testing.T) {
	definition := func(namespace, name string) *types.Ref { return &types.Ref{Namespace: namespace, Name: name} }
	list := `{"cniVersion": "1.0.0", "name": "NAME", "plugins": [{"type": "bridge"}]}`
	named := func(name string) string { return strings.ReplaceAll(list, "NAME", name) }
	for name, tc := range map[string]struct {
		world planWorld
		want  []types.Origin
	}{
		"delegates and the annotation": {
			planWorld{
				config:      `"delegates": [` + single("bridge") + `, ` + single("macvlan") + `]`,
				networks:    map[string]string{"default/a": single("bridge"), "other/b": single("bridge")},
				annotations: annotated("a,other/b,a"),
			},
			[]types.Origin{
				{Field: "delegates[0]"},
				{Field: "delegates[1]"},
				{Field: types.AnnotationNetworks, Element: 1, Definition: definition("default", "a")},
				{Field: types.AnnotationNetworks, Element: 2, Definition: definition("other", "b")},
				{Field: types.AnnotationNetworks, Element: 3, Definition: definition("default", "a")},
			},
		},
		"the default-network annotation": {
			planWorld{
				config: podnet, networks: map[string]string{"kube-system/d": single("bridge")},
				annotations: map[string]string{types.AnnotationDefaultNetwork: "d"},
			},
			[]types.Origin{{Field: types.AnnotationDefaultNetwork, Element: 1, Definition: definition("kube-system", "d")}},
		},
		"files by path, by name, and of a definition": {
			planWorld{
				config:      `"clusterNetwork": "$DIR/cluster.conflist", "defaultNetworks": ["x", "y"], "auxiliaryCNIChainName": "chain"`,
				files:       map[string]string{"cluster.conflist": named("c"), "net.d/10-x.conflist": named("x"), "net.d/20.conf": `{"cniVersion": "1.0.0", "name": "z", "type": "bridge"}`, "chain/1.conf": `{"cniVersion": "1.0.0", "type": "tuning"}`},
				networks:    map[string]string{"kube-system/y": named("y"), "default/z": ""},
				facts:       missing("kube-system/x"),
				annotations: annotated("z"),
			},
			[]types.Origin{
				{Field: "clusterNetwork", File: "$DIR/cluster.conflist"},
				{Field: "defaultNetworks[0]", File: "$DIR/net.d/10-x.conflist"},
				{Field: "defaultNetworks[1]", Definition: definition("kube-system", "y")},
				{Field: types.AnnotationNetworks, Element: 1, Definition: definition("default", "z"), File: "$DIR/net.d/20.conf"},
				{Field: "auxiliaryCNIChainName"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			made := tc.world.make(t)
			check.Must(t, made.err)
			var got []types.Origin
			for _, a := range made.plan.Attachments {
				a.Origin.File = filepath.ToSlash(strings.ReplaceAll(a.Origin.File, made.dir, "$DIR"))
				got = append(got, a.Origin)
			}
			check.Equal(t, "origins", got, tc.want)
		})
	}
}
