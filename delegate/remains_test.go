package delegate

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// waysToLeave are ways in which a process leaves the group of the plugin that starts it. Each
// writes the number of the process to the file that $said names.
var waysToLeave = map[string]string{
	"a session of its own": `setsid sh -c 'echo $$ >"$said"; exec sleep 1000' & `,
	"a clean environment":  `env -i setsid sh -c 'echo $$ >"$1"; exec sleep 1000' sh "$said" & `,
	"no descriptors":       `setsid sh -c 'echo $$ >"$said"; exec sleep 1000 </dev/null >/dev/null 2>&1 3>&-' & `,
	"a parent that ended":  `setsid sh -c 'sh -c "echo \$\$ >\"\$said\"; exec sleep 1000" &' & `,
}

// left is a plugin that starts a process in one of these ways, and then goes on.
func left(t *testing.T, how, then string) (path string, line func() string) {
	t.Helper()
	said, line := fifo(t)
	return script(t, "starter", "said='"+said+"'; export said; "+how+then), line
}

var addEnviron = []string{"CNI_COMMAND=ADD", "PATH=/usr/bin:/bin"}

// execUntil runs a plugin whose time is over when it has said a line, which it gives.
func execUntil(t *testing.T, path string, line func() string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := make(chan string, 1)
	go func() {
		defer cancel()
		lines <- line()
	}()
	_, err = testExecutor().ExecPlugin(ctx, path, nil, addEnviron)
	return <-lines, err
}

// At the deadline everything ends that the plugin has started, however far it went: it would
// make its part after the undo.
func TestExecDeadlineEndsWhatLeftTheGroup(t *testing.T) {
	for name, how := range waysToLeave {
		t.Run(name, func(t *testing.T) {
			path, line := left(t, how, "exec sleep 1000")
			pid, err := execUntil(t, path, line)
			if failure := asPluginError(t, err); !strings.Contains(failure.Msg, "was killed with everything it started") {
				t.Errorf("got %v", failure)
			}
			if p, exists := host.ProcessOf(atoi(t, pid)); exists && !p.Ended {
				_ = unix.Kill(p.ID, unix.SIGKILL)
				t.Error("it lives on")
			}
		})
	}
}

// A plugin that ends without an answer has failed, and what it has left goes on with its
// work: it is ended before the undo.
func TestExecWithoutAnAnswerEndsWhatIsLeft(t *testing.T) {
	for name, end := range map[string]string{"no result": "exit 0", "a crash": "exit 3", "garbage": "echo garbage"} {
		t.Run(name, func(t *testing.T) {
			path, line := left(t, `setsid sh -c 'echo $$ >"$said"; exec sleep 1000' >/dev/null 2>&1 & `, "read pid <$said; echo $pid >$said; "+end)
			_, err := execute(t, path)
			if failure := asPluginError(t, err); failure.answered {
				t.Errorf("got %v", failure)
			}
			check.Ends(t, atoi(t, line()))
		})
	}
}

// A daemon that a plugin has left, which answered, lives on when a later plugin of the call
// is killed, however it was started; and so does a process that is no plugin's.
func TestExecDeadlineSparesOthers(t *testing.T) {
	for name, how := range waysToLeave {
		t.Run(name, func(t *testing.T) {
			x := testExecutor()
			x.grace = enoughGrace
			path, line := left(t, how, "read pid <$said; echo $pid >$said; echo '{}'")
			if _, err := x.ExecPlugin(t.Context(), path, nil, addEnviron); err != nil {
				t.Fatal(err)
			}
			daemon := atoi(t, line())
			defer func() { _ = unix.Kill(daemon, unix.SIGKILL) }()
			path, line = left(t, waysToLeave["a session of its own"], "exec sleep 1000")
			other := make(chan int, 1)
			if _, err := execUntil(t, path, func() string {
				other <- markedChild(t)
				return line()
			}); err == nil {
				t.Fatal("no error")
			}
			for _, pid := range []int{daemon, <-other} {
				if p, exists := host.ProcessOf(pid); !exists || p.Ended {
					t.Errorf("process %d was killed", pid)
				}
			}
		})
	}
}

// markedChild starts a child of this process as a plexus-once is started, beside a plugin.
func markedChild(t *testing.T) int {
	child := exec.CommandContext(t.Context(), "sleep", "1000")
	child.Env = append(os.Environ(), journal.RunEnv+"="+journal.NewRun())
	child.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		t.Error(err)
		return 0
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	return child.Process.Pid
}
