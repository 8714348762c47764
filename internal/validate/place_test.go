package validate

import (
	"strings"
	"testing"
)

const nadHead = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: a\nspec:\n"

// The place of a fault in spec.config is exact in every style of YAML's scalars.
func TestPlaces(t *testing.T) {
	for name, text := range map[string]string{
		"literal":             nadHead + "  config: |\n    {\n      \"type\": ⟦config⟧\"a/b\"\n    }\n",
		"literal, stripped":   nadHead + "  config: |-\n\n      {\n\n      \"cniVersion\": ⟦cni-version⟧\"9\", \"type\": \"a\"}\n\n",
		"literal, indented":   nadHead + "  config: |2+  # a comment\n        {\"type\":\n      ⟦config⟧\"a/b\"}\n",
		"literal, anchored":   nadHead + "  config: &conf !!str |\n    {\"type\": ⟦config⟧\"a/b\"}\n",
		"folded":              nadHead + "  config: >-\n    {\"mtu\": 1,\n    \"x\": [1,\n      2],\n\n    \"type\": ⟦config⟧\"a/b\"}\n",
		"folded, kept":        nadHead + "  config: >+\n    {\"plugins\": [{\"type\": \"x\"},\n    {\"type\": ⟦config⟧\"a/b\"}]}\n\n",
		"single quotes":       nadHead + "  config: '{\"it''s\": \"''\", \"type\": ⟦config⟧\"a/b\"}'\n",
		"single, over lines":  nadHead + "  config: '{\"a\": 1,\n    \"type\":\n    ⟦config⟧\"a/b\"}'\n",
		"double quotes":       nadHead + `  config: "{\"a\":\t\"\\\\\", \"type\": ⟦config⟧\"a/b\"}"` + "\n",
		"double, over lines":  nadHead + "  config: \"{\\\"a\\\": 1,\\\n    \\\"type\\\":\n    ⟦config⟧\\\"a/b\\\"}\"\n",
		"double, hexadecimal": nadHead + `  config: "{\x22a\x22: 1, \u0022type\U00000022: ⟦config⟧\x22a/b\x22}"` + "\n",
		"letters of 2 and 4":  nadHead + "  config: '{\"ä𝄞\": \"é\", \"type\": ⟦config⟧\"a/b\"}'\n",
		"CRLF":                strings.ReplaceAll(nadHead+"  config: |\n    {\n      \"type\": ⟦config⟧\"a/b\"\n    }\n", "\n", "\r\n"),
		"BOM":                 "\ufeff" + nadHead + "  config: '{\"type\": ⟦config⟧\"a/b\"}'\n",
		"flow":                "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: a}, spec: {config: '{\"type\": ⟦config⟧\"a/b\"}'}}",
		"JSON":                "{\n\t\"apiVersion\": \"k8s.cni.cncf.io/v1\",\n\t\"kind\": \"NetworkAttachmentDefinition\", \"metadata\": {\"name\": \"a\"},\n" + `"spec": {"config": "{\"a\": \"\/ä\ud83d\ude00\ud83d\", \"type\": ⟦config⟧\"a/b\"}"}}`,
		"a List":              "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n- apiVersion: k8s.cni.cncf.io/v1\n  kind: NetworkAttachmentDefinition\n  metadata: {name: a}\n  spec:\n    config: |\n      {\"type\": ⟦config⟧\"a/b\"}\n",
		"a list of the kind":  "kind: NetworkAttachmentDefinitionList\napiVersion: k8s.cni.cncf.io/v1\nitems:\n- metadata: {name: a}\n  spec: {config: '{\"type\": ⟦config⟧\"a/b\"}'}\n",
		"an alias":            "x: &conf '{\"type\": ⟦config⟧\"a/b\"}'\n" + nadHead + "  config: *conf\n",
		"a merged key":        "x: &spec {config: '{\"type\": ⟦config⟧\"a/b\"}'}\n" + strings.TrimSuffix(nadHead, "\n") + "\n  <<: *spec\n",
		"merged from a list":  "x: &none {a: 1}\ny: &spec {config: '{\"type\": ⟦config⟧\"a/b\"}'}\n" + strings.TrimSuffix(nadHead, "\n") + "\n  <<: [*none, *spec]\n",
		"a key twice":         nadHead + "  config: '{\"type\": \"a\"}'\n  ⟦key-twice⟧config: '{\"type\": ⟦config⟧\"a/b\"}'\n",
		"a merged annotation": "kind: Pod\nmetadata:\n  name: a\n  annotations:\n    <<: {k8s.v1.cni.cncf.io/networks: '⟦annotation⟧A'}\n",
		"annotations merged":  "kind: Pod\nx: &x {k8s.v1.cni.cncf.io/networks: '⟦annotation⟧A'}\nmetadata: {name: a, annotations: {<<: [*x]}}\n",
		"the third document":  "# one\n---\nkind: Service\n--- # two\n" + nadHead + "  config: |\n    {\"type\": ⟦config⟧\"a/b\"}\n---\n",
		"a directive":         "%YAML 1.1\n---\n" + nadHead + "  config: '{\"type\": ⟦config⟧\"a/b\"}'\n...\n",
	} {
		t.Run(name, func(t *testing.T) { examine(t, Options{}, text) })
	}
}

// The annotation is examined wherever a kind has its pods.
func TestKinds(t *testing.T) {
	const network = nadHead + "  config: '{\"type\": \"bridge\"}'\n---\n"
	for name, text := range map[string]string{
		"Pod":         "metadata:\n  name: x\n  annotations:\n    k8s.v1.cni.cncf.io/networks: a,⟦annotation⟧\n",
		"Deployment":  "metadata: {name: x}\nspec:\n  template:\n    metadata:\n      annotations:\n        k8s.v1.cni.cncf.io/networks: |\n          [\n            {\"name\": ⟦annotation⟧\"A\"}\n          ]\n",
		"CronJob":     "metadata: {name: x}\nspec: {jobTemplate: {spec: {template: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: \"⟦annotation⟧a b\"}}}}}}\n",
		"PodTemplate": "metadata: {name: x}\ntemplate: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: 'a@x,⟦annotation⟧a@x'}}}\n",
		"Service":     "metadata:\n  name: x\n  annotations:\n    k8s.v1.cni.cncf.io/networks: a,\n",
	} {
		t.Run(name, func(t *testing.T) { examine(t, Options{}, network+"kind: "+name+"\n"+text) })
	}
	for _, kind := range []string{"StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController"} {
		t.Run(kind, func(t *testing.T) {
			examine(t, Options{}, network+"kind: "+kind+"\nmetadata: {name: x}\nspec:\n  template:\n    metadata:\n      annotations: {k8s.v1.cni.cncf.io/networks: ⟦network-not-given⟧b}\n")
		})
	}
}

// A name that the API server makes up is enough.
func TestGeneratedName(t *testing.T) {
	r := examine(t, Options{}, "kind: Pod\nmetadata:\n  generateName: web-\n  annotations:\n    k8s.v1.cni.cncf.io/networks: ⟦annotation⟧A\n")
	if got := r.Findings[0].Object; got != "Pod default/web-*" {
		t.Errorf("object %q", got)
	}
}
