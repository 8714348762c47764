package window

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/validate"
)

const (
	brokenNetwork = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: lan}\nspec:\n  config: |\n    {\n      \"type\": \"macvlan\",\n    }\n"
	rightNetwork  = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: lan}\nspec: {config: '{\"type\": \"macvlan\"}'}\n"
	podOfOther    = "kind: Pod\nmetadata: {name: web, annotations: {k8s.v1.cni.cncf.io/networks: other/lan}}\n"
)

// writeFiles makes a folder of files.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		path = filepath.Join(dir, path)
		check.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check.Must(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

func TestValidateExitCodes(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"bad/a.yaml": brokenNetwork, "good/a.yml": rightNetwork, "note/a.json": `{"kind": "NetworkAttachmentDefinition", "apiVersion": "k8s.cni.cncf.io/v1", "metadata": {"name": "a"}}`,
		"empty/README.md": "", "hidden/a.yaml": rightNetwork, "hidden/.git/b.yaml": brokenNetwork, "hidden/c.txt": brokenNetwork,
	})
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stdout string // a part
		stderr string // a part; "" if nothing is written
	}{
		"right":               {[]string{"good"}, exitFine, "1 file, 1 network, 0 pods: 0 errors, 0 warnings, 0 notes", ""},
		"a file":              {[]string{"good/a.yml"}, exitFine, "1 file", ""},
		"a note alone":        {[]string{"note"}, exitFine, "1 note", ""},
		"an error":            {[]string{"bad"}, exitWrong, "a.yaml:8:5: error: spec.config: is not valid JSON", ""},
		"each file once":      {[]string{"good", "good/a.yml", "./good/"}, exitFine, "1 file, 1 network", ""},
		"hidden folders":      {[]string{"hidden"}, exitFine, "1 file,", ""},
		"standard input":      {[]string{"-"}, exitWrong, "<stdin>:8:5: error", ""},
		"no arguments":        {nil, exitUsage, "", "name files or folders"},
		"no such file":        {[]string{"nowhere.yaml"}, exitBlind, "", "nowhere.yaml"},
		"a folder of nothing": {[]string{"empty"}, exitBlind, "", "empty: has no .yaml"},
		"no such format":      {[]string{"-o", "xml", "good"}, exitUsage, "", `--output: "xml" is not one of text, json, yaml, sarif, github`},
		"no such rule":        {[]string{"--explain", "ghost"}, exitUsage, "", `--explain: there is no rule "ghost"; the rules are yaml, `},
		"a rule and a file":   {[]string{"--explain", "yaml", "good"}, exitUsage, "", "--explain"},
		"a rule":              {[]string{"--explain", "range-overlap"}, exitFine, "What to do: Give each network a range of its own", ""},
		"no such config":      {[]string{"--config", "none.conf", "good"}, exitBlind, "", "--config none.conf: open none.conf"},
		"a bad config":        {[]string{"--config", "good/a.yml", "good"}, exitBlind, "", "--config good/a.yml: invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir)
			got := runWith(t, brokenNetwork, append([]string{"validate"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "output", got.stdout, tc.stdout)
			check.Contains(t, "stderr", got.stderr, tc.stderr)
			if tc.stderr == "" && got.stderr != "" {
				t.Errorf("stderr: %s", got.stderr)
			}
		})
	}
}

// Each format is that of its name, and has the finding.
func TestValidateFormats(t *testing.T) {
	for format, want := range map[string]string{
		"text": "<stdin>:8:5: error: ", "json": `"kind": "ValidationReport"`, "yaml": "kind: ValidationReport", "sarif": `"ruleId": "config-json"`,
		"github": "::error file=<stdin>,line=8,col=5,",
	} {
		t.Run(format, func(t *testing.T) {
			got := runWith(t, brokenNetwork, "validate", "-o", format, "-")
			check.Equal(t, "exit code", got.code, exitWrong)
			check.Contains(t, "output", got.stdout, want)
			if valid := json.Valid([]byte(got.stdout)); valid != (format == "json" || format == "sarif") {
				t.Errorf("output is JSON: %v", valid)
			}
		})
	}
}

// The configuration of Plexus counts, alone or in a list, and nothing else is taken for it.
func TestValidateConfig(t *testing.T) {
	const plexus = `{"cniVersion": "1.0.0", "name": "p", "type": "plexus", "namespaceIsolation": true, "delegates": [{"type": "bridge", "name": "podnet"}]}`
	for name, tc := range map[string]struct {
		config         string
		code           int
		stdout, stderr string
	}{
		"alone":              {plexus, exitWrong, "namespace isolation is on", ""},
		"in a list":          {`{"cniVersion": "1.0.0", "name": "p", "plugins": [{"type": "tuning"}, ` + plexus + `]}`, exitWrong, "namespace isolation is on", ""},
		"without isolation":  {strings.Replace(plexus, "true", "false", 1), exitFine, "0 errors", ""},
		"a list of others":   {`{"name": "p", "plugins": [{"type": "bridge"}]}`, exitBlind, "", "no plugin in it has the type plexus"},
		"a bad key":          {strings.Replace(plexus, "true", "1", 1), exitBlind, "", "namespaceIsolation: must be true or false"},
		"a misspelt key":     {strings.Replace(plexus, "namespaceIsolation", "namespaceIsolaton", 1), exitFine, "0 errors", "unknown key, ignored: namespaceIsolaton (the nearest known key is namespaceIsolation)"},
		"a network of it":    {strings.Replace(plexus, `"bridge"`, `"../bridge"`, 1), exitWrong, "plexus.conf:1:1: error: ", ""},
		"plugins of no list": {`{"plugins": 1}`, exitBlind, "", "--config plexus.conf: json: cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(writeFiles(t, map[string]string{"plexus.conf": tc.config}))
			got := runWith(t, podOfOther, "validate", "--config", "plexus.conf", "-")
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "output", got.stdout, tc.stdout)
			check.Contains(t, "stderr", got.stderr, tc.stderr)
		})
	}
}

// Objects that name no namespace are in that of the flag.
func TestValidateNamespace(t *testing.T) {
	inDefault := strings.Replace(rightNetwork, "name: lan", "name: lan, namespace: default", 1)
	for namespace, twice := range map[string]bool{"shop": false, "other": false, "default": true, "": true} {
		got := runWith(t, inDefault+"---\n"+rightNetwork, "validate", "-n", namespace, "-")
		if strings.Contains(got.stdout, "[object-twice]") != twice {
			t.Errorf("namespace %q: %s", namespace, got.stdout)
		}
	}
}

// The list of rules is generated.
func TestValidateRulesDocument(t *testing.T) {
	check.Golden(t, "../../docs/validate-rules.md", []byte(validate.Document()))
}
