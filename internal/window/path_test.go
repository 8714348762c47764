package window

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// savedPath gives the arguments of a path between the pods of a folder of saved snapshots.
func savedPath(t *testing.T, folder string, more ...string) []string {
	t.Helper()
	files, err := filepath.Glob("../inspect/path/testdata/" + folder + "/*.json")
	check.Must(t, err)
	args := []string{"path", "/run/netns/p1", "to", "/run/netns/p2"}
	for _, file := range files {
		args = append(args, "--from", file)
	}
	return append(args, more...)
}

func TestPath(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		out  []string
	}{
		"one that arrives":       {savedPath(t, "overlay"), exitFine, []string{"there: arrives", "flannel.1  vxlan", "back: arrives, by the same interfaces"}},
		"one that is lost":       {savedPath(t, "overlay-without-the-entry-of-a-VTEP"), exitWrong, []string{"there: lost: the FDB of flannel.1 has no entry", "back: arrives"}},
		"one that is too narrow": {savedPath(t, "overlay-on-a-wire-that-is-too-narrow"), exitWrong, []string{"there: arrives", "eth0 of n2 is too narrow"}},
		"one that leaves": {
			append([]string{"path", "/run/netns/p1", "to", "198.51.100.7"}, savedPath(t, "an-address-outside")[4:]...), exitFine, []string{"there: leaves"},
		},
		"one that is handed on": {
			[]string{"path", "default/a", "-i", "net0", "to", "default/b", "--from", "../../docs/paths/vhost-user/node1.json"}, exitFine, []string{"there: unknown"},
		},
		"without the word to":   {append([]string{"path", "/run/netns/p1", "/run/netns/p2"}, savedPath(t, "ptp")[4:]...), exitFine, []string{"arrives"}},
		"an address":            {append([]string{"path", "/run/netns/p1", "to", "10.3.2.2"}, savedPath(t, "ptp")[4:]...), exitFine, []string{"host2  veth"}},
		"an address and a port": {append([]string{"path", "/run/netns/p1", "to", "10.3.2.2:80"}, savedPath(t, "ptp")[4:]...), exitFine, []string{"(10.3.2.2) port 80", "host2  veth"}},
		"JSON":                  {savedPath(t, "ptp", "-o", "json"), exitFine, []string{`"kind": "Path"`, `"outcome": "arrives"`}},
		"SVG":                   {savedPath(t, "ptp", "-o", "svg"), exitFine, []string{`<svg xmlns`, `width="888"`, "<title"}},
		"a narrow SVG":          {savedPath(t, "ptp", "-o", "svg", "--width", "360"), exitFine, []string{`width="360"`}},
		"HTML":                  {savedPath(t, "ptp", "-o", "html"), exitFine, []string{"<!DOCTYPE html>", `class="narrow"`}},
		"Mermaid":               {savedPath(t, "ptp", "-o", "mermaid"), exitFine, []string{"flowchart TD", "subgraph"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, "", test.args...)
			check.Equal(t, "exit code", got.code, test.code)
			for _, want := range test.out {
				check.Contains(t, "output", got.stdout, want)
			}
		})
	}
}

func TestPathRefuses(t *testing.T) {
	from := savedPath(t, "ptp")[4:]
	for name, test := range map[string]struct {
		args []string
		code int
		err  string
	}{
		"an empty end":         {append([]string{"a/b", "to", ""}, from...), exitUsage, `"" is no end of a path`},
		"an end without a pod": {append([]string{"a/", "to", "c/d"}, from...), exitUsage, `"a/" is no end of a path`},
		"a node twice":         {append([]string{"a/b", "to", "c/d"}, append(from, from...)...), exitUsage, "are both of"},
		"a width":              {append([]string{"a/b", "to", "c/d", "--width", "-5"}, from...), exitUsage, "--width: -5 is below 0"},
		"no end":               {nil, exitUsage, "path takes two ends"},
		"one end":              {[]string{"a/b", "to"}, exitUsage, "path takes two ends"},
		"three ends":           {[]string{"a/b", "to", "c/d", "e/f"}, exitUsage, "path takes two ends"},
		"a format":             {append([]string{"a/b", "to", "c/d", "-o", "png"}, from...), exitUsage, `"png" is not one of`},
		"a pod":                {append([]string{"a/b", "to", "c/d"}, from...), exitBlind, "pod a/b: not found"},
		"an interface":         {append([]string{"/run/netns/p1", "to", "/run/netns/p2", "-i", "net9"}, from...), exitBlind, "has no interface net9, it has lo"},
		"a file":               {[]string{"a/b", "to", "c/d", "--from", "none.json"}, exitBlind, "none.json"},
		"what is no snapshot":  {[]string{"a/b", "to", "c/d", "--from", "path_test.go"}, exitBlind, "this is not a snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, "", append([]string{"path"}, test.args...)...)
			check.Equal(t, "exit code", got.code, test.code)
			check.Contains(t, "error", got.stderr, test.err)
			check.Equal(t, "output", got.stdout, "")
		})
	}
}

// What --save writes says the same as what it was read from.
func TestPathSave(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "saved")
	first := runWith(t, "", savedPath(t, "overlay", "--save", folder)...)
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	check.Must(t, err)
	check.Equal(t, "files", len(files), 2)
	args := []string{"path", "/run/netns/p1", "to", "/run/netns/p2"}
	for _, file := range files {
		info, err := os.Stat(file)
		check.Must(t, err)
		check.Equal(t, "mode", info.Mode().Perm(), os.FileMode(0o600))
		args = append(args, "--from", file)
	}
	again := runWith(t, "", args...)
	check.Equal(t, "output", again.stdout, first.stdout)
	check.Equal(t, "it has an output", strings.Contains(first.stdout, "arrives"), true)
}

// A saved path needs no cluster, and no kubeconfig that can be read.
func TestPathOfSavedNodesAsksNobody(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "config")
	check.Must(t, os.WriteFile(broken, []byte("no YAML: ["), 0o600))
	t.Setenv("KUBECONFIG", broken)
	check.Equal(t, "exit code", runWith(t, "", savedPath(t, "ptp")...).code, exitFine)
	withCluster(t, true) // one that does not answer
	check.Equal(t, "exit code", runWith(t, "", savedPath(t, "ptp")...).code, exitFine)
}

// closing is a node that remembers whether it was closed.
type closing struct {
	savedNode
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// A machine that has neither pod has no part in the path: it is let go of, and nothing of it is saved.
func TestPathLeavesOtherMachinesOut(t *testing.T) {
	withCluster(t, true)
	data, err := os.ReadFile(saved)
	check.Must(t, err)
	snapshot, err := inspect.Parse(data)
	check.Must(t, err)
	for from, stays := range map[string]bool{"shop/elsewhere": false, "default/web": true} {
		flags, _ := command(t)
		o := &pathOptions{node: *flags, openNode: flags.openNode, query: path.Query{From: from, To: "shop/other"}}
		o.node.connect = func() (*clients, error) { return nil, errNoCluster }
		here := &closing{savedNode: savedNode{snapshot}}
		v := &visited{}
		check.Must(t, v.add(t.Context(), here, inspect.Request{}))
		check.Error(t, o.reach(t.Context(), v), "no cluster is known")
		check.Equal(t, from+": the machine is let go of", here.closed, !stays)
		check.Equal(t, from+": what was read of it stays", len(v.snapshots) == 1, stays)
	}
}
