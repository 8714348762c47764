package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	onceName    = "plexus-once"
	plexusStart = "plexus, VERSION"
)

// The yardsticks: the least that a Go program can be, and one that does no more than a plugin
// must, which is to read JSON and to print some.
var yardsticks = map[string]string{
	"bare": "package main\n\nfunc main() {}\n",
	"echo": `package main

import (
	"encoding/json"
	"os"
)

func main() {
	var v map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&v); err != nil {
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(v)
}
`,
}

// start is an executable that is started over and over, and how long that took.
type start struct {
	what  string
	path  string
	args  []string
	env   []string
	stdin []byte
	fails bool // as it should
	times []time.Duration
}

// size is that of the executable, stripped as `make build` makes it.
func (s *start) size() int64 {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (l *lab) newStarts() []*start {
	version := []string{"CNI_COMMAND=VERSION"}
	plexus := filepath.Join(l.bin, "plexus")
	starts := []*start{
		{what: "a bare Go program", path: filepath.Join(l.dir, "bare")},
		{what: "a Go program that reads and prints JSON", path: filepath.Join(l.dir, "echo"), stdin: []byte(`{"cniVersion":"1.1.0"}`)},
		{what: "plexus, --version", path: plexus, args: []string{"--version"}},
		{what: plexusStart, path: plexus, env: version, stdin: []byte(`{"cniVersion":"1.1.0"}`)},
		{
			what: "plexus, an ADD that is refused", path: plexus, fails: true,
			env: []string{
				"CNI_COMMAND=ADD", "CNI_CONTAINERID=x", "CNI_NETNS=" + netns, "CNI_IFNAME=eth0",
				"CNI_PATH=" + l.plugins, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b",
			},
			stdin: []byte(`{"cniVersion":"1.1.0","name":"n","type":"plexus","delegates":7}`),
		},
		{what: "plexus-once, --version", path: filepath.Join(l.bin, onceName), args: []string{"--version"}},
		{what: "plexus-agent, --version", path: filepath.Join(l.bin, "plexus-agent"), args: []string{"--version"}},
		{
			what: "bridge (a reference plugin), VERSION", path: filepath.Join(l.plugins, "bridge"),
			env: version, stdin: []byte(`{"cniVersion":"1.1.0"}`),
		},
	}
	if l.multusBin == "" {
		return starts
	}
	return append(starts, l.multusStarts()...)
}

// multusStarts are of the executables of Multus. Its daemon ends a --version with status 4.
func (l *lab) multusStarts() []*start {
	starts := []*start{{what: "multus-daemon, --version", path: filepath.Join(l.multusBin, "multus-daemon"), args: []string{"--version"}, fails: true}}
	for _, name := range []string{"multus-shim", "multus"} {
		starts = append(starts, &start{
			what: name + ", VERSION", path: filepath.Join(l.multusBin, name),
			env: []string{"CNI_COMMAND=VERSION"}, stdin: []byte(`{"cniVersion":"1.1.0"}`),
		})
	}
	return starts
}

// measureStarts starts every executable in turn.
func (l *lab) measureStarts(ctx context.Context) ([]*start, error) {
	for name, source := range yardsticks {
		if err := l.buildProgram(ctx, name, source); err != nil {
			return nil, err
		}
	}
	starts := l.newStarts()
	for round := range l.starts + warmUp {
		for i := range starts {
			s := starts[(i+round)%len(starts)]
			took, err := s.run(ctx)
			if err != nil {
				return nil, err
			}
			if round >= warmUp {
				s.times = append(s.times, took)
			}
		}
	}
	return starts, nil
}

func (s *start) run(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, s.path, s.args...)
	cmd.Env = append([]string{}, s.env...)
	cmd.Stdin = bytes.NewReader(s.stdin)
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	var ended *exec.ExitError
	if s.fails && errors.As(err, &ended) && ended.Exited() {
		return took, nil
	}
	if err != nil || s.fails {
		return 0, fmt.Errorf("start of %s: unexpected end: %w", s.what, err)
	}
	return took, nil
}

// buildProgram builds a program just as `make build` builds plexus.
func (l *lab) buildProgram(ctx context.Context, name, source string) error {
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path+".go", []byte(source), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, path+".go")
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program %s: %w: %s", name, err, out)
	}
	return nil
}
