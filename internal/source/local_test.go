package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// localFiles are the files that a source may find in the place of a kubeconfig.
func localFiles(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"": "", "missing": filepath.Join(dir, "missing"), "folder": dir}
	for name, content := range map[string]string{"good": "kind: Config", "empty": ""} {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files["fifo"] = filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(files["fifo"], 0o600); err != nil {
		t.Fatal(err)
	}
	return files
}

// Where the API server is the source, and no agent, the way to it is on this node. Of an
// agent nothing is said, whatever it does, nor of what it can do without.
func TestLocalSpeaksOfThisNodeAlone(t *testing.T) {
	files := localFiles(t)
	for name, test := range map[string]struct {
		agent      string // its mode
		kubeconfig string // its file
		inCluster  bool
		child      string // its mode; "" for none
		want       string
	}{
		"an agent":                           {agent: "ok", want: "ready"},
		"no agent":                           {agent: "absent", want: "ready"},
		"a stale socket":                     {agent: "stale", want: "ready"},
		"an agent of another user":           {agent: "another user", want: "ready"},
		"an agent, beside a kubeconfig":      {agent: "ok", kubeconfig: "missing", want: "ready"},
		"no agent and no kubeconfig":         {agent: "absent", kubeconfig: "missing", want: "ready"},
		"no agent, but the kubeconfig":       {agent: "absent", kubeconfig: "good", child: "ok", want: "ready"},
		"in a cluster, no agent":             {agent: "absent", inCluster: true, want: "ready"},
		"the kubeconfig alone":               {agent: "not configured", kubeconfig: "good", child: "ok", want: "ready"},
		"a kubeconfig that is missing":       {agent: "not configured", kubeconfig: "missing", child: "ok", want: "missing"},
		"a kubeconfig that is a folder":      {agent: "not configured", kubeconfig: "folder", child: "ok", want: "is not a file"},
		"a kubeconfig that gives no byte":    {agent: "not configured", kubeconfig: "fifo", child: "ok", want: "is not a file"},
		"a kubeconfig that is empty":         {agent: "not configured", kubeconfig: "empty", child: "ok", want: "is empty"},
		"the kubeconfig, no plexus-once":     {agent: "not configured", kubeconfig: "good", want: "no plexus-once"},
		"neither kubeconfig nor plexus-once": {agent: "not configured", kubeconfig: "missing", want: "missing, no plexus-once"},
		"no kubeconfig, but in a cluster":    {agent: "not configured", kubeconfig: "missing", inCluster: true, child: "ok", want: "missing"},
		"in a cluster":                       {agent: "not configured", inCluster: true, child: "ok", want: "ready"},
		"in a cluster, no plexus-once":       {agent: "not configured", inCluster: true, want: "no plexus-once"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := emptyFolder(t)
			if test.child != "" {
				dir = installChild(t, test.child)
			}
			config := types.Config{Kubeconfig: files[test.kubeconfig]}
			agent := configureAgent(t, &config, test.agent, nil)
			s := newSource(t, &config, dir)
			s.inCluster = test.inCluster
			facts, err := s.Local(t.Context(), &types.FactsRequest{Networks: []types.Ref{{Namespace: "x", Name: "y"}}})
			if got := readiness(err); got != test.want {
				t.Errorf("got %s: %v, want %s", got, err, test.want)
			}
			if err == nil && len(facts.Networks) > 0 {
				t.Errorf("it speaks of networks that the API server may know: %+v", facts)
			}
			if agent != nil && len(agent.stop(t)) > 0 {
				t.Error("the agent was asked")
			}
			if len(notes[start](t, "starts")) > 0 {
				t.Error("plexus-once was started")
			}
		})
	}
}

// readiness names what an error of Local is about.
func readiness(err error) string {
	if err == nil {
		return "ready"
	}
	var about []string
	if errors.Is(err, fs.ErrNotExist) {
		about = append(about, "missing")
	}
	for _, words := range []string{"is not a file", "is empty"} {
		if strings.Contains(err.Error(), words) {
			about = append(about, words)
		}
	}
	if types.CodeOf(err, 0) == types.CodeNotAvailable {
		about = append(about, "no plexus-once")
	}
	return strings.Join(about, ", ")
}

// Where there is no source, nobody can know the networks that the configuration names.
func TestLocalWithoutASource(t *testing.T) {
	ref := types.Ref{Namespace: "x", Name: "y"}
	facts, err := newSource(t, &types.Config{}, emptyFolder(t)).Local(t.Context(), &types.FactsRequest{Networks: []types.Ref{ref}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]types.Network{{Ref: ref, Missing: true}}, facts.Networks); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
}

// Manifests are this node's: plexus-once reads them, and is gone afterwards.
func TestLocalAsksForManifests(t *testing.T) {
	for mode, want := range map[string]string{"ok": "", "error": "no such pod", "dies": "plexus-once", "": "is neither beside plexus nor in CNI_PATH"} {
		dir := emptyFolder(t)
		if mode != "" {
			dir = installChild(t, mode)
		}
		s := newSource(t, &types.Config{Manifests: "/manifests", AgentSocket: "/nobody.sock", Kubeconfig: "/missing"}, dir)
		request := &types.FactsRequest{Networks: []types.Ref{{Namespace: "x", Name: "y"}}}
		_, err := s.Local(t.Context(), request)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %q: %v, want %q", mode, err, want)
		}
		if s.child != nil {
			t.Errorf("mode %q: plexus-once is kept", mode)
		}
		if mode == "" {
			continue
		}
		if diff := cmp.Diff([]string{"--manifests", "/manifests"}, notes[start](t, "starts")[0].Args); diff != "" {
			t.Errorf("mode %q: arguments (-want +got):\n%s", mode, diff)
		}
		asked := notes[types.Request](t, "requests")[0].Facts
		if diff := cmp.Diff(request.Networks, asked.Networks); diff != "" {
			t.Errorf("mode %q: networks (-want +got):\n%s", mode, diff)
		}
	}
}

// A plexus-once that cannot be executed is none.
func TestFindChildThatIsNotExecutable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, childName)
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findChild([]string{dir}); types.CodeOf(err, 0) != types.CodeNotAvailable || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want code %d and the path", err, types.CodeNotAvailable)
	}
}
