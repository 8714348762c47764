package window

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// withOutput are the commands that have -o, each with arguments that need no node and no cluster.
func withOutput(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n")
	pod := filepath.Join(dir, "pod.yaml")
	write(t, dir, "plexus.conf", `{"cniVersion": "1.0.0", "name": "plexus", "type": "plexus", "cniDir": "`+dir+`", "clusterNetwork": "/none"}`)
	check.Must(t, os.MkdirAll(filepath.Join(dir, "plexus"), 0o700))
	return map[string][]string{
		"doctor":   {"--from", "../inspect/testdata/doctor.json"},
		"gc":       {"--dry-run", "--config", filepath.Join(dir, "plexus.conf")},
		"release":  {"4f1d"}, // of which there is no record, so that it only refuses
		"get":      {"--from", saved},
		"inspect":  {"--from", saved, "default/db"},
		"explain":  {"-f", pod},
		"path":     {"--from", saved, "default/web", "-i", "net0", "to", "default/db"},
		"validate": {pod},
	}
}

// Every command has the same formats; one that is new has to be in the list above.
func TestOutput(t *testing.T) {
	known := withOutput(t)
	template := filepath.Join(t.TempDir(), "template")
	write(t, filepath.Dir(template), "template", "kind={.kind}\n")
	eachCommand(New(discard()), func(cmd *cobra.Command) {
		if cmd.Flags().Lookup("output") == nil {
			return
		}
		args := known[cmd.Name()]
		check.Equal(t, cmd.Name()+" is in the list", args != nil, true)
		answer := func(format string) ran { return runWith(t, "", append([]string{cmd.Name(), "-o", format}, args...)...) }
		if cmd.Name() != "release" {
			check.Equal(t, cmd.Name()+" -o table", answer("table").stdout, answer("text").stdout)
			check.Contains(t, cmd.Name()+" -o json", answer("json").stdout, `"kind": "`)
			check.Contains(t, cmd.Name()+" -o yaml", answer("yaml").stdout, "\nkind: ")
			check.Equal(t, cmd.Name()+" -o jsonpath", answer("jsonpath={.apiVersion}{.no.such}").stdout, "plexus-cni.io/v1alpha1")
			check.Contains(t, cmd.Name()+" -o jsonpath-file", answer("jsonpath-file="+template).stdout, "kind=")
		}
		for format, why := range map[string]string{
			"xml": `"xml" is not one of text, `, "jsonpath=": "it is empty", "jsonpath={.a": "unclosed action", "jsonpath-file=/nonexistent": "open /nonexistent",
		} {
			refused := answer(format)
			check.Equal(t, cmd.Name()+" -o "+format, refused.code, exitUsage)
			check.Contains(t, "error of -o "+format, refused.stderr, "kubectl-plexus: --output: ", why)
		}
	})
}

func TestJSONPath(t *testing.T) {
	for template, want := range map[string]string{
		"{.items[*].pod}": "default/db default/db default/web default/web",
		"{range .items[?(@.mtu==1500)]}{.interface} {end}": "eth0 net0 eth0 net0 ",
		`{.items[?(@.network=="default/storage")].mac}`:    "02:b0:5d:9d:4d:73 42:85:f3:1d:08:6e",
	} {
		check.Equal(t, template, runWith(t, "", "get", "--from", saved, "-o", "jsonpath="+template).stdout, want)
	}
	inode := runWith(t, "", "inspect", "--from", saved, "default/web", "-o", "jsonpath={.namespace.inode}").stdout
	check.Equal(t, "an inode, whole", inode, "4026548039")
}

func TestCompleteOutput(t *testing.T) {
	for begun, want := range map[string]string{
		"":      "text\njson\nyaml\nwide\njsonpath=\njsonpath-file=\n:4\n",
		"y":     "yaml\n:4\n",
		"jsonp": "jsonpath=\njsonpath-file=\n:6\n",
	} {
		check.Equal(t, "get -o "+begun, runWith(t, "", cobra.ShellCompRequestCmd, "get", "-o", begun).stdout, want)
	}
}

// eachCommand visits all commands with a name, also those below others.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, child := range cmd.Commands() {
		if !strings.HasPrefix(child.Name(), "__") {
			visit(child)
			eachCommand(child, visit)
		}
	}
}
