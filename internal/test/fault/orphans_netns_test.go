package fault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// A delegate that goes on after its caller was killed is waited for, and then killed
// with what it started, before DEL releases what it took.
func TestNetnsOrphanIsKilledBeforeDel(t *testing.T) {
	for name, then := range map[string][]string{
		"with a child":  {"work", "spawn PID", "kill", "hang"},
		"with a daemon": {"work", "daemon PID", "kill", "hang"},
		"a daemon":      {"work", "daemon PID", "kill"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			pidFile := m.Path("pid")
			pod := m.killedWhile("ADD", then, pidFile)
			pod.command = "DEL"
			m.mustRun(pod)
			m.mustBeClean("after DEL")
			mustBeGone(t, pidFile)
		})
	}
}

// killedWhile makes a pod and a call for it that is killed by the plugin of network a, whose
// steps have PID for the file with the number of what it leaves.
func (m *machine) killedWhile(command string, steps []string, pidFile string) call {
	m.t.Helper()
	var do []string
	for _, step := range steps {
		do = append(do, strings.ReplaceAll(step, "PID", pidFile))
	}
	m.do["a"] = map[string][]string{command: do}
	pod := call{command: command, sandbox: m.pod("c1")}
	if out := m.run(pod); !out.killed {
		m.t.Fatalf("the %s was to be killed: %+v", command, out)
	}
	m.do = map[string]map[string][]string{}
	return pod
}

// A daemon that a plugin has left in an ADD that came to its end lives on when a later call
// is killed, and what that has left is ended.
func TestNetnsDaemonOfAFinishedAdd(t *testing.T) {
	for _, kind := range []string{"spawn", "daemon"} {
		t.Run(kind, func(t *testing.T) {
			m := newMachine(t)
			kept, orphan, broken := m.Path("kept"), m.Path("orphan"), m.Path("broken")
			m.do["a"] = map[string][]string{
				"ADD":   {"work", kind + " " + kept, "answer"},
				"CHECK": {"if " + broken + " spawn " + orphan, "if " + broken + " kill", "if " + broken + " hang"},
			}
			pod := call{command: "ADD", sandbox: m.pod("c1")}
			m.mustRun(pod)
			check.Must(t, os.WriteFile(broken, nil, 0o600))
			pod.command = "CHECK"
			if out := m.run(pod); !out.killed {
				t.Fatalf("the CHECK was to be killed: %+v", out)
			}
			check.Must(t, os.Remove(broken))
			m.mustRun(pod)
			mustBeGone(t, orphan)
			pod.command = "DEL"
			m.mustRun(pod)
			m.mustBeClean("after DEL")
			daemon, exists := host.ProcessOf(pidIn(t, kept))
			if !exists || daemon.Ended {
				t.Error("the daemon was killed")
			}
			daemon.Kill()
		})
	}
}

// The plugin of a killed ADD hangs and holds the lock, the namespace goes, and no DEL comes:
// calls for other pods end the plugin and release what it made.
func TestNetnsOrphanOfADeadSandbox(t *testing.T) {
	m := newMachine(t)
	pidFile := m.Path("pid")
	pod := m.killedWhile("ADD", []string{"work", "daemon PID", "kill", "hang"}, pidFile)
	pod.sandbox.Destroy()
	m.otherPod("other1")
	if len(m.held()) == 0 {
		t.Error("an orphan that may come to its end by itself was not waited for")
	}
	long := time.Now().Add(-time.Hour)
	check.Must(t, os.Chtimes(filepath.Join(m.CNIDir, "plexus", "c1.lock"), long, long))
	m.otherPod("other2")
	m.mustBeClean("after the calls for other pods")
	mustBeGone(t, pidFile)
}

// A call that is killed while its container has no record leaves a lock, which goes with the
// next call, for another pod.
func TestNetnsLockWithoutARecord(t *testing.T) {
	m := newMachine(t)
	for at := 1; at <= 2; at++ {
		pod := call{command: "DEL", sandbox: m.pod(fmt.Sprintf("c%d", at)), killAt: at}
		if out := m.run(pod); !out.killed {
			t.Fatalf("the DEL was to be killed: %+v", out)
		}
	}
	if len(m.locks()) == 0 {
		t.Fatal("no lock was left")
	}
	m.otherPods(1)
	if left := m.locks(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func (m *machine) locks() []string {
	m.t.Helper()
	locks, err := filepath.Glob(filepath.Join(m.CNIDir, "plexus", "*.lock"))
	check.Must(m.t, err)
	return locks
}

func mustBeGone(t *testing.T, pidFile string) {
	t.Helper()
	pid := pidIn(t, pidFile)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Errorf("process %d still runs", pid)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	check.Must(t, err)
	pid, err := strconv.Atoi(string(data))
	check.Must(t, err)
	return pid
}

// A delegate that hangs, with a child that holds its pipes or a daemon, ends the ADD at its
// deadline with an error that names it, and everything is undone.
func TestNetnsHangingDelegateWithGrandchild(t *testing.T) {
	for _, kind := range []string{"spawn", "daemon"} {
		t.Run(kind, func(t *testing.T) { hangWith(t, kind) })
	}
}

func hangWith(t *testing.T, kind string) {
	m := newMachine(t)
	pidFile := m.Path("pid")
	m.do["b"] = map[string][]string{"ADD": {"work", kind + " " + pidFile, "hang"}}
	out := m.run(call{command: "ADD", sandbox: m.pod("c1")})
	if out.ok || out.killed {
		t.Fatalf("the ADD was to fail: %+v", out)
	}
	for _, want := range []string{"default/web", "default/b", "plugin fake (ADD)", "did not end within 1"} {
		if !strings.Contains(out.msg, want) {
			t.Errorf("error %q does not say %q", out.msg, want)
		}
	}
	m.mustBeClean("after the ADD")
	mustBeGone(t, pidFile)
}
