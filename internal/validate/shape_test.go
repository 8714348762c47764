package validate

import (
	"fmt"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What the API server refuses for its type is found, and not read as something else.
func TestShapes(t *testing.T) {
	const network = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n"
	for name, tc := range map[string]struct {
		file string
		want []string
	}{
		"all well":                       {"apiVersion: v1\nkind: Pod\nmetadata: {name: \"5\", namespace: a, annotations: {}}\n", nil},
		"nothing where it may be":        {"apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: null, annotations: ~}\n", nil},
		"a name that is a number":        {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: 5\n", []string{"4:9 metadata.name: must be a string, got a value of the type int"}},
		"a namespace that is a list":     {network + "metadata: {name: n, namespace: [a]}\nspec: {}\n", []string{"3:32 metadata.namespace: must be a string, got a list"}},
		"metadata that is a list":        {"apiVersion: v1\nkind: Pod\nmetadata: [p]\n", []string{"1:1 metadata.name: is missing", "3:11 metadata: must be an object, got a list"}},
		"annotations that are a list":    {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: [a]\n", []string{"5:16 metadata.annotations: must be an object, got a list"}},
		"annotations of a template":      {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    metadata:\n      annotations: yes\n", []string{"7:20 spec.template.metadata.annotations: must be an object, got a value of the type str"}},
		"a specification that is a text": {network + "metadata: {name: n}\nspec: all\n", []string{"4:7 spec: must be an object, got a value of the type str"}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Run(t.Context(), []File{{Name: "f.yaml", Data: []byte(tc.file)}}, Options{})
			check.Must(t, err)
			var got []string
			for _, f := range report.Findings {
				if f.Rule == ruleObject {
					got = append(got, fmt.Sprintf("%d:%d %s: %s", f.Line, f.Column, f.Field, f.Message))
				}
			}
			check.Equal(t, "findings", got, tc.want)
		})
	}
}
