package validate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// seeds are objects that have a fault each, at the mark. %d makes their names differ.
var seeds = []string{
	nad("seed-%[1]d", `{"cniVersion": "1.0.0", "name": "seed-%[1]d", "plugins": [{"type": ⟦config⟧"../%[1]d"}]}`),
	nad("seed-%[1]d", `{"cniVersion": ⟦cni-version⟧"1.0.%[1]d7", "name": "seed-%[1]d", "type": "bridge"}`),
	nad("seed-%[1]d", `{"name": "seed-%[1]d", "type": "bridge" ⟦config-json⟧"mtu": 1}`),
	nad("seed-%[1]d", `{"name": ⟦name-twice⟧"net-%[1]d", "type": "bridge", "mtu": 9000}`),
	"apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: seed-%[1]d}\nspec:\n  config: |-\n    {\n      \"type\": \"bridge\",\n      \"bridge\": \"seed-%[1]d\",\n      \"ipam\": {\n        \"type\": \"host-local\",\n        \"subnet\": ⟦range⟧\"10.0.0.1/24\"\n      }\n    }\n---\n",
	"apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: seed-%[1]d}\nspec:\n  config: >\n    {\n    \"plugins\": [\n    {\"type\": \"bridge\", \"bridge\": \"seed-%[1]d\"},\n    {\"type\": \"tuning\", \"capabilities\": ⟦config⟧[]}]\n    }\n---\n",
	"kind: Pod\nmetadata:\n  name: seed-%[1]d\n  annotations:\n    k8s.v1.cni.cncf.io/networks: |\n      [\n        {\"name\": \"net-%[1]d\"},\n        {\"name\": \"net-%[1]d\", \"ips\": [\n          ⟦annotation⟧\"10.0.0.256\"\n        ]}\n      ]\n---\n",
	"kind: Pod\nmetadata:\n  name: seed-%[1]d\n  annotations:\n    k8s.v1.cni.cncf.io/networks: net-%[1]d, ⟦network-not-given⟧nowhere-%[1]d\n---\n",
	"kind: Deployment\nmetadata: {name: seed-%[1]d}\nspec:\n  template:\n    metadata:\n      annotations:\n        k8s.v1.cni.cncf.io/networks: '[{\"name\": \"net-%[1]d\", \"portMappings\": ⟦capability⟧[{\"hostPort\": 80, \"containerPort\": 80}]}]'\n---\n",
	"kind: StatefulSet\nmetadata: {name: seed-%[1]d}\nspec:\n  template:\n    metadata:\n      annotations:\n        k8s.v1.cni.cncf.io/networks: \"net-%[1]d,\\\n          ⟦pod⟧net-%[1]d@net0\"\n---\n",
}

// manyObjects are 500 objects in 20 files, of which 60 have a fault.
func manyObjects() []string {
	texts := make([]string, 20)
	for i := range 220 {
		texts[i%20] += nad(fmt.Sprintf("net-%d", i), fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "net-%[1]d", "type": "bridge", "bridge": "br-%[1]d", "ipam": {"type": "host-local", "subnet": "10.%[1]d.0.0/24"}}`, i))
		texts[i%20] += strings.Replace(selects(fmt.Sprintf(`net-%d@eth1,net-%d`, i, (i+1)%220)), "web", fmt.Sprintf("web-%d", i), 1)
	}
	for i := range 60 {
		at := i * 7 % 20
		if strings.Contains(seeds[i%len(seeds)], ruleNameTwice) {
			at = 19 // after the other network of the name
		}
		texts[at] += fmt.Sprintf(seeds[i%len(seeds)], i)
	}
	return texts
}

// Each of 60 faults in 500 objects is found at its line and column, and nothing else is.
func TestSeededFaults(t *testing.T) {
	texts := manyObjects()
	check.Equal(t, "faults", strings.Count(strings.Join(texts, ""), "⟦"), 60)
	r := examine(t, Options{}, texts...)
	check.Equal(t, "objects", r.Networks+r.Pods, 500)
}

// The order of the files changes no finding about one object, and two runs give the same.
func TestFindingsAreStable(t *testing.T) {
	var files []File
	for i, text := range manyObjects() {
		file, _ := marked(fmt.Sprintf("%d.yaml", i), text)
		files = append(files, file)
	}
	first, err := Run(t.Context(), files, Options{})
	check.Must(t, err)
	again, err := Run(t.Context(), files, Options{})
	check.Must(t, err)
	check.Equal(t, "again", again, first)
	slices.Reverse(files)
	reversed, err := Run(t.Context(), files, Options{})
	check.Must(t, err)
	one := func(r *Report) []string {
		all := found(r)
		all = slices.DeleteFunc(all, func(s string) bool { return strings.HasSuffix(s, ruleNameTwice) })
		slices.Sort(all)
		return all
	}
	check.Equal(t, "reversed", one(reversed), one(first))
}

func BenchmarkRun(b *testing.B) {
	var files []File
	for i, text := range manyObjects() {
		file, _ := marked(fmt.Sprintf("%d.yaml", i), text)
		files = append(files, file)
	}
	for b.Loop() {
		if _, err := Run(b.Context(), files, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
