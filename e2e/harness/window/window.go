// Package window runs kubectl-plexus on the nodes of a test, as who is on call does. It demands that
// nothing is wrong with pods that work, that a fault is named, and that the path between two pods
// is the one that the test has built.
package window

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// Node is a node of a test.
type Node struct {
	Name     string // in Snapshots
	Program  string // the path of kubectl-plexus on the node
	StateDir string // of the journal; the default if empty
	NetNSDir string // that of the runtime; the default if empty
	// Do runs a function on a thread of the node.
	Do func(f func() error) error
}

// Of gives a node of package node by a name.
func Of(name string, n *node.Node) *Node {
	return &Node{
		Name: name, Program: filepath.Join(n.Bin, "kubectl-plexus"), StateDir: n.CNIDir + "/plexus", NetNSDir: n.Path("netns"),
		Do: func(f func() error) (err error) {
			n.Do(func() error {
				err = f()
				return nil
			})
			return err
		},
	}
}

// Exit codes of kubectl-plexus.
const (
	fine  = 0
	wrong = 1
)

// run runs a command on the node and gives what it printed; its exit code is 0 or 1.
func (n *Node) run(t testing.TB, args ...string) (text string, code int) {
	t.Helper()
	if n.StateDir != "" {
		args = append(args, "--state-dir", n.StateDir)
	}
	if n.NetNSDir != "" {
		args = append(args, "--netns-dir", n.NetNSDir)
	}
	check.Must(t, n.Do(func() (err error) {
		text, code, err = call(n.Program, args...)
		return err
	}))
	return text, code
}

func call(program string, args ...string) (text string, code int, err error) {
	out, err := exec.Command(program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
		if code == wrong {
			err = nil
		} else {
			err = fmt.Errorf("kubectl-plexus %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
		}
	}
	return string(out), code, err
}

// snapshot takes a Snapshot of the node, by the command.
func (n *Node) snapshot(t testing.TB) *inspect.Snapshot {
	t.Helper()
	file := filepath.Join(t.TempDir(), n.Name+".json")
	if _, code := n.run(t, "snapshot", "--save", file); code != fine {
		t.Fatalf("snapshot of %s: exit code %d", n.Name, code)
	}
	data, err := os.ReadFile(file)
	check.Must(t, err)
	s, err := inspect.Parse(data)
	check.Must(t, err)
	s.Machine.Node = n.Name
	return s
}

// Findings gives what inspect finds of a pod, each as "SEVERITY ID: TEXT; EVIDENCE".
func (n *Node) Findings(t testing.TB, pod string) []string {
	t.Helper()
	text, code := n.run(t, "inspect", pod, "-o", "json")
	var report inspect.Report
	check.Must(t, json.Unmarshal([]byte(text), &report))
	check.Equal(t, "exit code of inspect", code, map[bool]int{true: wrong, false: fine}[inspect.Wrong(report.Findings)])
	found := []string{}
	for _, f := range report.Findings {
		line := fmt.Sprintf("%s %s: %s", f.Severity, f.ID, f.Text)
		for _, e := range f.Evidence {
			line += fmt.Sprintf("; %s=%s", e.Field, e.Value)
		}
		found = append(found, line)
	}
	return found
}

// MustFind demands that inspect finds one thing of a pod and no other, in these words.
func (n *Node) MustFind(t testing.TB, pod string, words ...string) {
	t.Helper()
	found := n.Findings(t, pod)
	if len(found) != 1 {
		t.Errorf("inspect %s on %s finds %q, want one finding with %q", pod, n.Name, found, words)
		return
	}
	check.Contains(t, "the finding of "+pod, found[0], words...)
}

// MustBeFine demands that inspect finds nothing of the node's pods, and that what they got is there
// as it was made. Their status may be published a little later, where somebody does so.
func (n *Node) MustBeFine(t testing.TB, published bool, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		check.Equal(t, "findings of "+pod, n.Findings(t, pod), []string{})
	}
	states := []inspect.State{inspect.StateOK}
	if !published {
		states = append(states, inspect.StateUnpublished)
	}
	for _, pod := range pods {
		check.Eventually(t, "what pod "+pod+" got to be as it was made", time.Minute, func() error {
			text, _ := n.run(t, "get", pod, "-o", "json")
			var list inspect.AttachedList
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				return err
			}
			if len(list.Items) == 0 || slices.ContainsFunc(list.Items, func(a inspect.Attached) bool { return !slices.Contains(states, a.State) }) {
				return fmt.Errorf("get says %s", text)
			}
			return nil
		})
	}
}
