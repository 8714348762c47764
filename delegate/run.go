package delegate

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
)

// pluginRun is one execution of a plugin.
type pluginRun struct {
	x       *executor
	path    string
	command string
	stdin   []byte
	environ []string
	mark    string // of it and of what it starts, in the environment
	begun   uint64 // when it got its configuration, as host.Process has it
	waited  bool   // it was started before its turn
	cmd     *exec.Cmd
	feed    *os.File // the other end of its standard input
	cancel  context.CancelFunc
	stdout  limitedBuffer
	stderr  tailBuffer
}

func (x *executor) newRun(path string, environ []string) *pluginRun {
	return &pluginRun{x: x, path: path, command: orUnknown(envValue(environ, "CNI_COMMAND")), environ: environ, mark: journal.NewRun()}
}

// start starts the plugin, which has no configuration yet.
func (r *pluginRun) start() error {
	stdin, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, r.path)
	cmd.Env = slices.Concat(r.environ, []string{journal.DelegateEnv + "=" + r.x.containerID, journal.RunEnv + "=" + r.mark})
	cmd.Stdin = stdin
	cmd.Stdout = &r.stdout
	cmd.Stderr = &r.stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = r.kill
	cmd.WaitDelay = r.x.grace
	if r.x.lock != nil {
		cmd.ExtraFiles = []*os.File{r.x.lock}
	}
	adoptOrphans()
	r.begun, r.cmd, r.feed, r.cancel = host.Ticks(), cmd, feed, cancel
	if err := cmd.Start(); err != nil {
		cancel()
		_ = feed.Close()
		return err
	}
	return nil
}

// finish gives the plugin its configuration, and waits for its end until ctx ends. The next
// plugin is started meanwhile.
func (r *pluginRun) finish(ctx context.Context, stdin []byte) error {
	defer r.cancel()
	defer context.AfterFunc(ctx, r.cancel)()
	r.stdin = stdin
	_, _ = r.feed.Write(stdin) // at its end at the latest, this ends; it will say why it did not read
	_ = r.feed.Close()
	r.x.ahead.startNext()
	err := r.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) && r.cmd.ProcessState.Success() {
		// It answered and ended; what it left running keeps the pipe, and is its own affair.
		return nil
	}
	return err
}

// abandon ends a plugin that was given no configuration.
func (r *pluginRun) abandon() {
	_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	_ = r.feed.Close()
	_ = r.cmd.Wait()
	r.cancel()
}

// hasEnded reports whether the plugin has ended before its turn.
func (r *pluginRun) hasEnded() bool {
	p, exists := host.ProcessOf(r.cmd.Process.Pid)
	return !exists || p.Ended
}

// limitedBuffer keeps the first maxStdout bytes and notes whether there were more.
type limitedBuffer struct {
	data []byte
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := min(maxStdout-len(b.data), len(p))
	b.data = append(b.data, p[:room]...)
	b.full = b.full || room < len(p)
	return len(p), nil
}

// tailBuffer keeps the last maxStderr bytes.
type tailBuffer struct{ data []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	if len(b.data) > maxStderr {
		b.data = append([]byte(nil), b.data[len(b.data)-maxStderr:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	return strings.ToValidUTF8(strings.TrimSpace(string(b.data)), "?")
}
