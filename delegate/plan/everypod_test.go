package plan

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// everyPod gives "interface network" of what every pod of a world gets.
func (w *planWorld) everyPod(t *testing.T) (networks []string, err error) {
	t.Helper()
	got := w.make(t)
	planner := got.planner
	attachments, err := planner.EveryPod(t.Context(), w.makeFacts(t))
	for _, a := range attachments {
		networks = append(networks, a.Interface+" "+a.Network)
	}
	return networks, err
}

const ofFile = `{"cniVersion": "1.0.0", "name": "filed", "plugins": [{"type": "bridge"}]}`

// What every pod gets is resolved with the node's files and with what the source knows; what
// the source is silent about is left out.
func TestEveryPod(t *testing.T) {
	files := map[string]string{"net.d/10-filed.conflist": ofFile, "net.d/aux/1.conf": `{"type": "tuning"}`, "net.d/20-broken.conflist": "{"}
	for name, test := range map[string]struct {
		config   string
		facts    []types.Network
		networks map[string]string
		want     []string
	}{
		"delegates":                           {`"delegates": [` + single("bridge") + `, {"name": "second", "type": "macvlan"}]`, nil, nil, []string{"eth0 bridge-net", "net0 second"}},
		"a path":                              {`"clusterNetwork": "$DIR/net.d/10-filed.conflist", "delegates": [{"name": "ignored", "type": "ghost"}]`, nil, nil, []string{"eth0 filed"}},
		"a file's name that is missing":       {`"clusterNetwork": "filed"`, missing("kube-system/filed"), nil, []string{"eth0 filed"}},
		"a file's name, of which none speaks": {`"clusterNetwork": "filed"`, nil, nil, []string{"eth0 filed"}},
		"a definition":                        {`"clusterNetwork": "filed"`, nil, map[string]string{"kube-system/filed": single("macvlan")}, []string{"eth0 kube-system/filed"}},
		"a name that the API alone may know":  {`"clusterNetwork": "somewhere", "defaultNetworks": ["filed", "elsewhere"]`, nil, nil, []string{"net0 filed"}},
		"a chain": {
			`"clusterNetwork": "$DIR/net.d/10-filed.conflist", "defaultNetworks": ["extra"], "auxiliaryCNIChainName": "aux"`, nil,
			map[string]string{"kube-system/extra": single("macvlan")},
			[]string{"eth0 filed", "net0 kube-system/extra", "net1 aux"},
		},
		"a network with a device, which no pod has here": {
			podnet + `, "defaultNetworks": ["vf"]`,
			[]types.Network{{Ref: types.Ref{Namespace: "kube-system", Name: "vf"}, Config: single("sriov"), ResourceName: "example.com/nic"}},
			nil,
			[]string{"eth0 podnet", "net0 kube-system/vf"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			world := planWorld{config: test.config, files: files, facts: test.facts, networks: test.networks, noPod: true}
			got, err := world.everyPod(t)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What would be refused for every pod is refused, each fault by its field or network; what is
// right is there all the same.
func TestEveryPodRefused(t *testing.T) {
	long := strings.Repeat("n", 190)
	for name, test := range map[string]struct {
		config string
		facts  []types.Network
		want   []string
	}{
		"nothing":                              {podnet, nil, nil},
		"delegates[1]: no executable":          {`"delegates": [` + single("bridge") + `, {"name": "second", "type": "ghost"}]`, nil, []string{`network second: plugins[0].type: plugin "ghost" is not in "$DIR/bin"`}},
		"delegates[2]: no IPAM executable":     {`"delegates": [` + single("bridge") + `, {"name": "b", "type": "bridge"}, {"name": "c", "type": "macvlan", "ipam": {"type": "ghost"}}]`, nil, []string{`network c: plugins[0].ipam.type: plugin "ghost"`}},
		"delegates[1]: no configuration":       {`"delegates": [` + single("bridge") + `, {"name": "second"}]`, nil, []string{"delegates[1]: "}},
		"delegates[0]: no such version":        {`"delegates": [{"cniVersion": "9.0.0", "name": "a", "type": "bridge"}]`, nil, []string{`network a: cniVersion: "9.0.0"`}},
		"defaultNetworks: no file":             {podnet + `, "defaultNetworks": ["$DIR/nothing.conflist"]`, nil, []string{"defaultNetworks[0]: ", "nothing.conflist"}},
		"defaultNetworks: nobody's name":       {podnet + `, "defaultNetworks": ["nobody"]`, missing("kube-system/nobody"), []string{"defaultNetworks[0]: there is neither a NetworkAttachmentDefinition kube-system/nobody nor a file"}},
		"clusterNetwork: nobody's name":        {`"clusterNetwork": "nobody"`, missing("kube-system/nobody"), []string{"clusterNetwork: there is neither a NetworkAttachmentDefinition kube-system/nobody nor a file"}},
		"clusterNetwork: no name of the API":   {`"clusterNetwork": "No_Object"`, nil, []string{"clusterNetwork: there is neither"}},
		"a folder without a file":              {`"clusterNetwork": "$DIR/bin/"`, nil, []string{"clusterNetwork: no .conflist, .conf or .json file in"}},
		"an auxiliary chain that is broken":    {`"clusterNetwork": "$DIR/net.d/10-filed.conflist", "auxiliaryCNIChainName": "bad"`, nil, []string{"auxiliaryCNIChainName: ", "bad/1.conf"}},
		"a name that is too long for a record": {`"delegates": [{"cniVersion": "1.0.0", "name": "` + long + `", "type": "bridge"}]`, nil, []string{"libcni's cache", "too many"}},
		"two faults":                           {`"delegates": [{"name": "a", "type": "ghost"}, {"name": "b", "type": "ghost"}]`, nil, []string{"network a: ", "network b: "}},
	} {
		t.Run(name, func(t *testing.T) {
			world := planWorld{config: test.config, files: map[string]string{"net.d/10-filed.conflist": ofFile, "net.d/bad/1.conf": "{"}, facts: test.facts, noPod: true}
			got := world.make(t)
			_, err := got.planner.EveryPod(t.Context(), world.makeFacts(t))
			if (err == nil) != (test.want == nil) {
				t.Fatalf("%v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "$DIR", got.dir); !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q: %v", want, err)
				}
			}
		})
	}
}

// The facts of the caller stay as they are, and an end in between is no success.
func TestEveryPodLeavesTheFacts(t *testing.T) {
	world := planWorld{config: `"clusterNetwork": "filed"`, files: map[string]string{"net.d/10-filed.conflist": ofFile}, noPod: true}
	got, facts := world.make(t), types.Facts{}
	if _, err := got.planner.EveryPod(t.Context(), &facts); err != nil || len(facts.Networks) > 0 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := got.planner.EveryPod(ended, &facts); err == nil {
		t.Error("it succeeded though there was no time")
	}
}
