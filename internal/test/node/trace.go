package node

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Trace records what a process and those that it starts do to the disk, as the kernel
// sees it: what a plugin promises about a power cut can be seen in no other way.
type Trace struct {
	t    testing.TB
	file string
}

// NewTrace makes a trace that writes to a file of the test. It needs strace, which
// make test-netns installs.
func NewTrace(t testing.TB) *Trace {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("strace is not there: make test-netns installs it: %v", err)
	}
	return &Trace{t: t, file: t.TempDir() + "/trace"}
}

// Wrapper gives the command that runs another one, which follows, under the trace.
func (r *Trace) Wrapper() []string {
	return []string{"strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=execve,fsync,fdatasync,rename,renameat,renameat2", "-o", r.file}
}

// Script writes an executable that runs another one under the trace, and gives its path.
func (r *Trace) Script(executable string) string {
	r.t.Helper()
	path := r.t.TempDir() + "/traced"
	text := "#!/bin/sh\nexec '" + strings.Join(append(r.Wrapper(), executable), "' '") + "' \"$@\"\n"
	check.Must(r.t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

var (
	synced   = regexp.MustCompile(`f(?:data)?sync\(\d+<([^>]*)>\) += 0`)
	renamed  = regexp.MustCompile(`rename(?:at2?)?\(.*"([^"]+)".*"([^"]+)".*\) += 0`)
	executed = regexp.MustCompile(`execve\("([^"]+)".*\) += 0`)
)

// unfinished and resumed are the halves of a call during which another process made one.
var (
	unfinished = regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>\n?$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
)

// wholeCalls gives the calls of a trace, a line each, in the order in which they ended.
func wholeCalls(trace string) []string {
	begun := map[string]string{} // by thread
	var calls []string
	for line := range strings.Lines(trace) {
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[2]
			continue
		}
		if m := resumed.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			line = m[1] + " " + begun[m[1]] + m[2]
		}
		calls = append(calls, line)
	}
	return calls
}

// Steps gives what happened, in order: "sync PATH", "rename OLD NEW", "exec PATH".
func (r *Trace) Steps() []string {
	r.t.Helper()
	data, err := os.ReadFile(r.file)
	check.Must(r.t, err)
	var steps []string
	for _, line := range wholeCalls(string(data)) {
		if m := synced.FindStringSubmatch(line); m != nil {
			steps = append(steps, "sync "+m[1])
		} else if m := renamed.FindStringSubmatch(line); m != nil {
			steps = append(steps, "rename "+m[1]+" "+m[2])
		} else if m := executed.FindStringSubmatch(line); m != nil {
			steps = append(steps, "exec "+m[1])
		}
	}
	return steps
}

// MustFollow asserts that the wanted steps are among those that happened, in this order;
// others may lie between.
func (r *Trace) MustFollow(want ...string) {
	r.t.Helper()
	steps := r.Steps()
	rest := steps
	for _, step := range want {
		i := slices.Index(rest, step)
		if i < 0 {
			r.t.Errorf("no %q where it is wanted, in:\n%s", step, strings.Join(steps, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}
