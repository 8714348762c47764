package fault

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

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
	m := newMachine(t)
	for at := 1; at < maxKillPoints; at++ {
		pod := m.pod(fmt.Sprintf("c%d", at))
		out := m.run(call{command: "ADD", sandbox: pod, killAt: at})
		m.mustRun(call{command: "DEL", sandbox: pod})
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
func killed(t *testing.T, s scenario) (*machine, call) {
	t.Helper()
	m := newMachine(t)
	for network, do := range s.do {
		m.do[network] = do
	}
	add := call{command: "ADD", sandbox: m.pod("c1"), killAt: s.killAt}
	if out := m.run(add); !out.killed {
		t.Fatalf("the ADD was to be killed: %+v", out)
	}
	m.do = map[string]map[string][]string{}
	return m, call{sandbox: add.sandbox}
}

// After a kill at any step one DEL, with no API server, releases everything.
func TestNetnsKilledAddThenDel(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			m, pod := killed(t, s)
			pod.command = "DEL"
			m.mustRun(pod)
			m.mustBeClean("after DEL")
			m.mustRun(pod)
			m.mustBeClean("after a second DEL")
		})
	}
}

// After a kill at any step the runtime may call ADD again instead.
func TestNetnsKilledAddThenAdd(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			m, pod := killed(t, s)
			if strings.HasPrefix(s.name, "journal") && m.complete() {
				t.Logf("it was complete when it was killed: the runtime would call DEL")
				return
			}
			pod.command = "ADD"
			m.mustRun(pod)
			if got := len(m.held()); got != len(networks) {
				t.Errorf("holds %v, want one for each of %v", m.held(), networks)
			}
			pod.command = "DEL"
			m.mustRun(pod)
			m.mustBeClean("after DEL")
		})
	}
}

func (m *machine) complete() bool {
	for _, file := range m.Leftovers() {
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
			m, pod := killed(t, s)
			broken := m.Path("broken")
			for _, network := range networks {
				m.do[network] = map[string][]string{"DEL": {"fail-if " + broken, "work"}}
			}
			m.useInRecords(broken)
			check.Must(t, os.WriteFile(broken, nil, 0o600))
			pod.command = "DEL"
			if out := m.run(pod); out.ok && len(m.held()) > 0 {
				t.Fatalf("the DEL was to fail, or to release: holds %v", m.held())
			}
			pod.sandbox.Destroy()
			check.Must(t, os.Remove(broken))
			m.otherPods(2)
			m.mustBeClean("after the calls for other pods")
		})
	}
}

// useInRecords makes the plugins fail as long as the file exists, also by the bytes
// that the record holds, which are what DEL uses.
func (m *machine) useInRecords(broken string) {
	m.t.Helper()
	steps := fmt.Sprintf(`\"do\":{\"DEL\":[\"fail-if %s\",\"work\"]}`, broken)
	do := regexp.MustCompile(`\\"do\\":(null|\{[^}]*\})`)
	for _, file := range m.Leftovers() {
		data, err := os.ReadFile(file)
		check.Must(m.t, err)
		if strings.HasSuffix(file, ".jsonl") {
			check.Must(m.t, os.WriteFile(file, do.ReplaceAllLiteral(data, []byte(steps)), 0o600))
		}
	}
}

// otherPods runs ADD and DEL for pods that have nothing to do with the first.
func (m *machine) otherPods(count int) {
	m.t.Helper()
	for i := range count {
		m.otherPod(fmt.Sprintf("other%d", i))
	}
}

func (m *machine) otherPod(container string) {
	m.t.Helper()
	other := call{command: "ADD", sandbox: m.pod(container)}
	m.mustRun(other)
	other.command = "DEL"
	m.mustRun(other)
}

// After a power cut only the intent is sure to be there, the namespaces are gone, the
// boot is another: the next calls release everything.
func TestNetnsKilledAddThenReboot(t *testing.T) {
	for _, s := range scenarios(t) {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lines after the intent lost %v", s.name, lost), func(t *testing.T) {
				m, pod := killed(t, s)
				pod.sandbox.Destroy(true)
				m.reboot(lost)
				m.otherPods(2)
				m.mustBeClean("after the calls for other pods")
			})
		}
	}
}

// reboot makes the records look as after a reboot.
func (m *machine) reboot(loseLines bool) {
	m.t.Helper()
	id := regexp.MustCompile(`"bootID":"[^"]*"`)
	for _, file := range m.Leftovers() {
		if !strings.HasSuffix(file, ".jsonl") {
			continue
		}
		data, err := os.ReadFile(file)
		check.Must(m.t, err)
		data = id.ReplaceAll(data, []byte(`"bootID":"another"`))
		if first, _, found := bytes.Cut(data, []byte("\n")); loseLines && found {
			data = data[:len(first)+1]
		}
		check.Must(m.t, os.WriteFile(file, data, 0o600))
	}
}

// An undo runs whole although a DEL in it fails, reports that beside the first error,
// and keeps what is left for the DEL.
func TestNetnsUndoRunsWhole(t *testing.T) {
	m := newMachine(t)
	broken := m.Path("broken")
	check.Must(t, os.WriteFile(broken, nil, 0o600))
	m.do["a"] = map[string][]string{"DEL": {"fail-if " + broken, "work"}}
	m.do["b"] = map[string][]string{"ADD": {"work", "fail"}}
	pod := call{command: "ADD", sandbox: m.pod("c1")}
	out := m.run(pod)
	for _, want := range []string{"attach network default/b as net1", "told to fail", "detach network default/a from net0", "as long as"} {
		if !strings.Contains(out.msg, want) {
			t.Errorf("error %q does not say %q", out.msg, want)
		}
	}
	if held := m.held(); len(held) != 1 || held[0] != "c1-net0" {
		t.Errorf("holds %v, want what the failing DEL left alone", held)
	}
	check.Must(t, os.Remove(broken))
	pod.command = "DEL"
	m.mustRun(pod)
	m.mustBeClean("after DEL")
}

// A DEL that is killed at any write of its journal is finished by the next one.
func TestNetnsKilledDelThenDel(t *testing.T) {
	for at := 1; ; at++ {
		m := newMachine(t)
		pod := call{command: "ADD", sandbox: m.pod("c1")}
		m.mustRun(pod)
		pod.command, pod.killAt = "DEL", at
		out := m.run(pod)
		pod.killAt = 0
		m.mustRun(pod)
		m.mustBeClean(fmt.Sprintf("after a DEL that was killed at %d, and another", at))
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
