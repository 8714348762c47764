package validate

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// FuzzDocuments examines any two files: it never panics, each finding has a rule and a place in its
// file, every format can write it, and a second run finds the same.
func FuzzDocuments(f *testing.F) {
	examples, err := filepath.Glob("../../examples/networks/*/*.yaml")
	check.Must(f, err)
	if len(examples) == 0 {
		f.Fatal("there are no examples")
	}
	for _, path := range examples[:min(len(examples), 8)] {
		data, err := os.ReadFile(path)
		check.Must(f, err)
		f.Add(data, []byte(selects(`a@x,b`)))
	}
	for _, seed := range seeds {
		file, _ := marked("a", seed)
		f.Add(file.Data, []byte(nad("a", onBridge("a", `"ranges": [[{"subnet": "10.0.0.0/24", "gateway": "10.0.0.9"}]]`))))
	}
	for _, seed := range []string{
		"x: &a {kind: List, items: [*a]}\n", "a: &a\n  <<: *a\n", "%YAML 1.1\n---\n...\n---", "\ufeff{}", "kind: \"\\ud83d\\u00\"",
		"{\"kind\": \"NetworkAttachmentDefinition\", \"apiVersion\": \"k8s.cni.cncf.io/v1\", \"metadata\": {\"name\": \"a\"}, \"spec\": {\"config\": \"\\u007b\\ud83d\\ude00\"}}",
		"kind: Pod\r\nmetadata: {name: a, annotations: {k8s.v1.cni.cncf.io/networks: >2-\r\n   [{\"name\": \u2028\"a\", \"ips\": []}]\r\n}}",
		"kind: NetworkAttachmentDefinition\napiVersion: k8s.cni.cncf.io/v1\nmetadata: {name: a}\nspec:\n  config: !!str &x \"{\\\n  \\x22type\\x22: 1,\\_}\"\n",
	} {
		f.Add([]byte(seed), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		files := []File{{Name: "a.yaml", Data: first}, {Name: "b.yaml", Data: second}}
		r, err := Run(t.Context(), files, Options{})
		check.Must(t, err)
		for i := range r.Findings {
			checkFinding(t, &r.Findings[i], map[string][]byte{"a.yaml": first, "b.yaml": second})
		}
		again, err := Run(t.Context(), files, Options{})
		check.Must(t, err)
		check.Equal(t, "second run", again, r)
		for _, write := range Formats {
			check.Must(t, write(&bytes.Buffer{}, r))
		}
	})
}

func checkFinding(t *testing.T, f *Finding, files map[string][]byte) {
	t.Helper()
	if _, known := RuleOf(f.Rule); !known || f.Message == "" || f.Do == "" {
		t.Errorf("finding without a rule or a text: %+v", f)
	}
	lines := bytes.Split(files[f.File], []byte("\n"))
	if f.Line < 1 || f.Line > len(lines) || f.Column < 1 || f.Column > len(lines[f.Line-1])+1 {
		t.Errorf("finding outside of its file: %+v", f)
	}
}
