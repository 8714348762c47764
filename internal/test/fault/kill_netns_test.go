package fault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// networks of the pod, in the order of attaching.
var networks = []string{"master", "a", "b"}

// maxKillPoints bounds the search for the last kill point of an ADD.
const maxKillPoints = 100

// scenario is a way in which an ADD is killed.
type scenario struct {
	name   string
	do     map[string]map[string][]string
	killAt int
}

// scenarios are all ways: before, during and after each delegate, and before and after
// each write of the journal.
func scenarios(t *testing.T) []scenario {
	var all []scenario
	for _, network := range networks {
		for name, steps := range map[string][]string{
			"before":             {"kill"},
			"during":             {"kill", "work", "answer"},
			"after its work":     {"work", "kill"},
			"after its answer":   {"work", "answer", "kill"},
			"and it fails after": {"work", "kill", "fail"},
		} {
			all = append(all, scenario{name: network + " kills " + name, do: map[string]map[string][]string{network: {"ADD": steps}}})
		}
	}
	points := killPoints(t)
	for at := 1; at <= points; at++ {
		all = append(all, scenario{name: fmt.Sprintf("journal %d of %d", at, points), killAt: at})
	}
	return all
}

// killPoints counts the kill points of a whole ADD.
func killPoints(t *testing.T) int {
	n := newNode(t)
	for at := 1; at < maxKillPoints; at++ {
		netns := n.namespace(strconv.Itoa(at))
		out := n.run(call{command: "ADD", container: "c", netns: netns, killAt: at})
		n.mustRun(call{command: "DEL", container: "c", netns: netns})
		if out.ok {
			if at < 2*len(networks) {
				t.Fatalf("only %d kill points: is this a build with the tag killpoints?", at-1)
			}
			return at - 1
		}
	}
	t.Fatalf("no ADD came to its end with up to %d kill points", maxKillPoints)
	return 0
}

// killed begins an ADD that is killed as the scenario has it.
func killed(t *testing.T, s scenario) (*node, call) {
	t.Helper()
	n := newNode(t)
	for network, do := range s.do {
		n.do[network] = do
	}
	add := call{command: "ADD", container: "c1", netns: n.namespace("c1"), killAt: s.killAt}
	if out := n.run(add); !out.killed {
		t.Fatalf("the ADD was to be killed: %+v", out)
	}
	n.do = map[string]map[string][]string{}
	return n, call{container: "c1", netns: add.netns}
}

// After a kill at any step one DEL, with no API server, releases everything.
func TestNetnsKilledAddThenDel(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			n, pod := killed(t, s)
			pod.command = "DEL"
			n.mustRun(pod)
			n.mustBeClean("after DEL")
			n.mustRun(pod)
			n.mustBeClean("after a second DEL")
		})
	}
}

// After a kill at any step the runtime may call ADD again instead.
func TestNetnsKilledAddThenAdd(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			n, pod := killed(t, s)
			if strings.HasPrefix(s.name, "journal") && n.complete() {
				t.Logf("it was complete when it was killed: the runtime would call DEL")
				return
			}
			pod.command = "ADD"
			n.mustRun(pod)
			if got := len(n.held()); got != len(networks) {
				t.Errorf("holds %v, want one for each of %v", n.held(), networks)
			}
			pod.command = "DEL"
			n.mustRun(pod)
			n.mustBeClean("after DEL")
		})
	}
}

func (n *node) complete() bool {
	for _, file := range n.files() {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(`"event":"complete"`)) {
			return true
		}
	}
	return false
}

// After a kill at any step the one DEL fails, is never repeated, and the namespace
// goes: the next calls, for other pods, release everything.
func TestNetnsKilledAddFailedDelThenOtherPods(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			n, pod := killed(t, s)
			broken := filepath.Join(n.dir, "broken")
			for _, network := range networks {
				n.do[network] = map[string][]string{"DEL": {"fail-if " + broken, "work"}}
			}
			n.useInRecords(broken)
			check.Must(t, os.WriteFile(broken, nil, 0o600))
			pod.command = "DEL"
			if out := n.run(pod); out.ok && len(n.held()) > 0 {
				t.Fatalf("the DEL was to fail, or to release: holds %v", n.held())
			}
			n.dropNamespace(pod.netns, false)
			check.Must(t, os.Remove(broken))
			n.otherPods(2)
			n.mustBeClean("after the calls for other pods")
		})
	}
}

// useInRecords makes the plugins fail as long as the file exists, also by the bytes
// that the record holds, which are what DEL uses.
func (n *node) useInRecords(broken string) {
	n.t.Helper()
	steps := fmt.Sprintf(`\"do\":{\"DEL\":[\"fail-if %s\",\"work\"]}`, broken)
	do := regexp.MustCompile(`\\"do\\":(null|\{[^}]*\})`)
	for _, file := range n.files() {
		data, err := os.ReadFile(file)
		check.Must(n.t, err)
		if strings.HasSuffix(file, ".jsonl") {
			check.Must(n.t, os.WriteFile(file, do.ReplaceAllLiteral(data, []byte(steps)), 0o600))
		}
	}
}

// otherPods runs ADD and DEL for pods that have nothing to do with the first.
func (n *node) otherPods(count int) {
	n.t.Helper()
	for i := range count {
		other := call{command: "ADD", container: fmt.Sprintf("other%d", i), netns: n.namespace(fmt.Sprintf("other%d", i))}
		n.mustRun(other)
		other.command = "DEL"
		n.mustRun(other)
	}
}

// After a power cut only the intent is sure to be there, the namespaces are gone, the
// boot is another: the next calls release everything.
func TestNetnsKilledAddThenReboot(t *testing.T) {
	for _, s := range scenarios(t) {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lines after the intent lost %v", s.name, lost), func(t *testing.T) {
				n, pod := killed(t, s)
				n.dropNamespace(pod.netns, true)
				n.reboot(lost)
				n.otherPods(2)
				n.mustBeClean("after the calls for other pods")
			})
		}
	}
}

// reboot makes the records look as after a reboot.
func (n *node) reboot(loseLines bool) {
	n.t.Helper()
	id := regexp.MustCompile(`"bootID":"[^"]*"`)
	for _, file := range n.files() {
		if !strings.HasSuffix(file, ".jsonl") {
			continue
		}
		data, err := os.ReadFile(file)
		check.Must(n.t, err)
		data = id.ReplaceAll(data, []byte(`"bootID":"another"`))
		if first, _, found := bytes.Cut(data, []byte("\n")); loseLines && found {
			data = data[:len(first)+1]
		}
		check.Must(n.t, os.WriteFile(file, data, 0o600))
	}
}

// A delegate that goes on after its caller was killed is waited for, and then killed
// with what it started, before DEL releases what it took.
func TestNetnsOrphanIsKilledBeforeDel(t *testing.T) {
	n := newNode(t)
	pidFile := filepath.Join(n.dir, "pid")
	n.do["a"] = map[string][]string{"ADD": {"work", "spawn " + pidFile, "kill", "hang"}}
	pod := call{command: "ADD", container: "c1", netns: n.namespace("c1")}
	if out := n.run(pod); !out.killed {
		t.Fatalf("the ADD was to be killed: %+v", out)
	}
	n.do = map[string]map[string][]string{}
	pod.command = "DEL"
	n.mustRun(pod)
	n.mustBeClean("after DEL")
	mustBeGone(t, pidFile)
}

func mustBeGone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	check.Must(t, err)
	pid, err := strconv.Atoi(string(data))
	check.Must(t, err)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Errorf("process %d still runs", pid)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A delegate that hangs, with a child that holds its pipes, ends the ADD at its
// deadline with an error that names it, and everything is undone.
func TestNetnsHangingDelegateWithGrandchild(t *testing.T) {
	n := newNode(t)
	pidFile := filepath.Join(n.dir, "pid")
	n.do["b"] = map[string][]string{"ADD": {"work", "spawn " + pidFile, "hang"}}
	out := n.run(call{command: "ADD", container: "c1", netns: n.namespace("c1")})
	if out.ok || out.killed {
		t.Fatalf("the ADD was to fail: %+v", out)
	}
	for _, want := range []string{"default/web", "default/b", "plugin fake (ADD)", "did not end within 1"} {
		if !strings.Contains(out.msg, want) {
			t.Errorf("error %q does not say %q", out.msg, want)
		}
	}
	n.mustBeClean("after the ADD")
	mustBeGone(t, pidFile)
}

// An undo runs whole although a DEL in it fails, reports that beside the first error,
// and keeps what is left for the DEL.
func TestNetnsUndoRunsWhole(t *testing.T) {
	n := newNode(t)
	broken := filepath.Join(n.dir, "broken")
	check.Must(t, os.WriteFile(broken, nil, 0o600))
	n.do["a"] = map[string][]string{"DEL": {"fail-if " + broken, "work"}}
	n.do["b"] = map[string][]string{"ADD": {"work", "fail"}}
	pod := call{command: "ADD", container: "c1", netns: n.namespace("c1")}
	out := n.run(pod)
	for _, want := range []string{"attach network default/b as net1", "told to fail", "detach network default/a from net0", "as long as"} {
		if !strings.Contains(out.msg, want) {
			t.Errorf("error %q does not say %q", out.msg, want)
		}
	}
	if held := n.held(); len(held) != 1 || held[0] != "c1-net0" {
		t.Errorf("holds %v, want what the failing DEL left alone", held)
	}
	check.Must(t, os.Remove(broken))
	pod.command = "DEL"
	n.mustRun(pod)
	n.mustBeClean("after DEL")
}

// A DEL that is killed at any write of its journal is finished by the next one.
func TestNetnsKilledDelThenDel(t *testing.T) {
	for at := 1; ; at++ {
		n := newNode(t)
		pod := call{command: "ADD", container: "c1", netns: n.namespace("c1")}
		n.mustRun(pod)
		pod.command, pod.killAt = "DEL", at
		out := n.run(pod)
		pod.killAt = 0
		n.mustRun(pod)
		n.mustBeClean(fmt.Sprintf("after a DEL that was killed at %d, and another", at))
		if out.ok {
			if at <= len(networks) {
				t.Fatalf("only %d kill points in a DEL", at-1)
			}
			return
		}
		if !out.killed || at == maxKillPoints {
			t.Fatalf("kill point %d: the DEL was to be killed: %+v", at, out)
		}
	}
}
