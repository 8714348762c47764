package window

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestSnapshot(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		code   int
		want   []string
		lacks  []string
		stderr string
	}{
		"the node":                 {nil, exitFine, []string{"default/web", "default/db", "vethcb40dac6"}, nil, ""},
		"a pod":                    {[]string{"default/web"}, exitFine, []string{"default/web", "veth67ccb4b5", "cbr0"}, []string{"default/db"}, ""},
		"a pod of the namespace":   {[]string{"db", "-n", "default"}, exitFine, []string{"default/db"}, []string{"default/web"}, ""},
		"two pods":                 {[]string{"default/web", "db"}, exitFine, []string{"default/web", "default/db"}, nil, ""},
		"one of them is not there": {[]string{"default/web", "shop/x"}, exitBlind, nil, nil, "pod shop/x: not found on this node: the journal has no record of it"},
		"redacted":                 {[]string{"--redact"}, exitFine, []string{`"kind": "Snapshot"`, `"kind": "veth"`, `"interface": "net0"`}, []string{"web", "10.1.0.2", "cbr0", "92:94", "vethcb40dac6", "storage"}, ""},
		"a key of nothing":         {[]string{"--redact-key", "k"}, exitUsage, nil, nil, "--redact-key: goes with --redact"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, "", append([]string{"snapshot", "--from", saved}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "snapshot", got.stdout, tc.want...)
			check.Contains(t, "error", got.stderr, tc.stderr)
			for _, leaked := range tc.lacks {
				check.Equal(t, "has "+leaked, strings.Contains(got.stdout, leaked), false)
			}
			if tc.code == exitFine {
				_, err := inspect.Parse([]byte(got.stdout))
				check.Must(t, err)
			}
		})
	}
	redacted := func(more ...string) string {
		return runWith(t, "", append([]string{"snapshot", "--from", saved, "--redact"}, more...)...).stdout
	}
	check.Equal(t, "the same names with the same key", redacted("--redact-key", "k"), redacted("--redact-key", "k"))
	first, second := redacted(), redacted()
	check.Equal(t, "the same names in another run", first == second, false)
}

// What was saved is for its owner alone, has all of the node, and gives the same answers.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.json")
	check.Must(t, os.WriteFile(there, []byte("{}"), 0o644))
	for path, args := range map[string][]string{
		filepath.Join(dir, "a.json"):                 {"snapshot", "--save", filepath.Join(dir, "a.json")},
		there:                                        {"get", "--save", there},
		filepath.Join(dir, "i.json"):                 {"inspect", "default/db", "--save", filepath.Join(dir, "i.json")},
		filepath.Join(dir, nameOf(t)+".json"):        {"snapshot", "--save", dir},
		filepath.Join(dir, "new", nameOf(t)+".json"): {"snapshot", "default/db", "--save", dir + "/new/"},
	} {
		got := runWith(t, "", append(args, "--from", saved)...)
		check.Equal(t, "exit code of "+strings.Join(args, " ")+got.stderr, got.code, exitFine)
		check.Equal(t, "prints", got.stdout == "", args[0] == "snapshot")
		info, err := os.Stat(path)
		check.Must(t, err)
		check.Equal(t, "mode", info.Mode().String(), "-rw-------")
		check.Contains(t, "the answer", runWith(t, "", "inspect", "--from", path, "default/db").stdout, "Nothing is wrong.", "counters")
	}
	refused := runWith(t, "", "snapshot", "--from", saved, "--save", filepath.Join(there, "below"))
	check.Equal(t, "exit code", refused.code, exitBlind)
	check.Contains(t, "error", refused.stderr, "kubectl-plexus: --save: ")
}

// A file that was there is replaced as a whole: what it was a link to is left alone, and nothing stays
// beside it, also if the snapshot cannot be put there.
func TestSaveReplaces(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	check.Must(t, os.WriteFile(other, []byte("somebody's"), 0o600))
	check.Must(t, os.Symlink(other, filepath.Join(dir, "link.json")))
	check.Must(t, saveSnapshot(filepath.Join(dir, "link.json"), inspect.New()))
	data, err := os.ReadFile(other)
	check.Must(t, err)
	check.Equal(t, "what the link led to", string(data), "somebody's")
	check.Must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	check.Error(t, save(filepath.Join(dir, "folder"), []byte("{}")), "--save: ")
	entries, err := os.ReadDir(dir)
	check.Must(t, err)
	check.Equal(t, "files", len(entries), 2)
}

// nameOf gives the name of the node of the saved snapshot.
func nameOf(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(saved)
	check.Must(t, err)
	s, err := inspect.Parse(data)
	check.Must(t, err)
	return s.Machine.Name()
}

// askedNode remembers what it was asked for.
type askedNode struct {
	savedNode
	request inspect.Request
}

func (n *askedNode) Snapshot(_ context.Context, request inspect.Request) (*inspect.Snapshot, error) {
	n.request = request
	return n.snapshot, nil
}

func TestSavedWhole(t *testing.T) {
	node := &askedNode{savedNode: savedNode{inspect.New()}}
	for file, brief := range map[string]bool{"": true, filepath.Join(t.TempDir(), "a.json"): false} {
		_, err := (&nodeFlags{save: file}).ask(t.Context(), node, inspect.Request{Brief: true})
		check.Must(t, err)
		check.Equal(t, "brief, with --save "+file, node.request.Brief, brief)
	}
}
