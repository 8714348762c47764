package delegate

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// aheadTest is an executor whose plugins are this program, under other names.
type aheadTest struct {
	*testing.T
	x   *executor
	dir string
}

func newAheadTest(t *testing.T) *aheadTest {
	x := testExecutor()
	x.ahead = newAhead(x, nil)
	x.ahead.allowed = func(string) bool { return true }
	t.Cleanup(x.ahead.drop)
	return &aheadTest{t, x, t.TempDir()}
}

// plugin makes a plugin that notes its start, reads its configuration, takes these steps and
// answers.
func (t *aheadTest) plugin(name string, steps ...string) launch {
	t.Helper()
	self, err := os.Executable()
	check.Must(t.T, err)
	path := filepath.Join(t.dir, name)
	check.Must(t.T, os.Symlink(self, path))
	writeTestFile(t.T, path+".steps", strings.Join(steps, "\n"), 0o600)
	return launch{path: path, args: &invoke.Args{Command: "ADD", ContainerID: "c1", IfName: name, NetNS: testPlugin}}
}

// testPlugin is the network namespace by which this program knows that it is a plugin.
const testPlugin = "ahead-test"

func init() {
	if os.Getenv("CNI_NETNS") == testPlugin {
		actAsPlugin(os.Args[0])
		os.Exit(0)
	}
}

func actAsPlugin(path string) {
	must := func(err error) {
		if err != nil {
			fmt.Printf(`{"code": 999, "msg": %q}`, err.Error())
			os.Exit(1)
		}
	}
	started, err := os.OpenFile(path+".started", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	_, err = fmt.Fprintln(started, os.Getpid())
	must(err)
	steps, err := os.ReadFile(path + ".steps")
	must(err)
	if !strings.HasPrefix(string(steps), "deaf") {
		conf, err := io.ReadAll(os.Stdin)
		must(err)
		must(os.WriteFile(path+".conf", conf, 0o600))
	}
	for step := range strings.SplitSeq(string(steps), "\n") {
		do, name, _ := strings.Cut(step, " ")
		file := filepath.Join(filepath.Dir(path), name)
		switch do {
		case "touch":
			must(os.WriteFile(file, nil, 0o600))
		case "need":
			_, err := os.Stat(file)
			must(err)
		case "await":
			for {
				if _, err := os.Stat(file); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		case "hang":
			time.Sleep(time.Hour)
		}
	}
	fmt.Println(`{"cniVersion": "1.0.0"}`)
}

func (t *aheadTest) run(l launch, conf string) (string, error) {
	output, err := t.x.ExecPlugin(t.Context(), l.path, []byte(conf), l.args.AsEnv())
	return string(output), err
}

func (t *aheadTest) mustRun(l launch, conf string) string {
	t.Helper()
	output, err := t.run(l, conf)
	check.Must(t.T, err)
	return output
}

// starts gives the processes of a plugin that have begun.
func (t *aheadTest) starts(name string) []int {
	data, _ := os.ReadFile(filepath.Join(t.dir, name+".started"))
	var all []int
	for line := range strings.Lines(string(data)) {
		id, err := strconv.Atoi(strings.TrimSpace(line))
		check.Must(t.T, err)
		all = append(all, id)
	}
	return all
}

func (t *aheadTest) awaitStart(name string) {
	t.Helper()
	check.Eventually(t.T, name+" to be started", 30*time.Second, func() error {
		if len(t.starts(name)) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

func (t *aheadTest) has(file string) bool {
	_, err := os.Stat(filepath.Join(t.dir, file))
	return err == nil
}

// The next plugin is there while the one before is at work, and does nothing before its turn.
func TestAheadTheNextPluginWaits(t *testing.T) {
	a := newAheadTest(t)
	second := a.plugin("second", "need first.done", "touch second.done")
	first := a.plugin("first", "await second.started", "touch first.done")
	a.x.ahead.expect([]launch{first, second})
	a.mustRun(first, `{"of": "first"}`) // it ends once the second one is started
	if a.has("second.done") {
		t.Error("the second plugin acted before its turn")
	}
	a.mustRun(second, `{"of": "second"}`)
	if !a.has("second.done") || len(a.starts("first")) != 1 || len(a.starts("second")) != 1 {
		t.Errorf("started %v and %v", a.starts("first"), a.starts("second"))
	}
	for name, want := range map[string]string{"first": `{"of": "first"}`, "second": `{"of": "second"}`} {
		if got, _ := os.ReadFile(filepath.Join(a.dir, name+".conf")); string(got) != want {
			t.Errorf("%s got %q", name, got)
		}
	}
}

// Never more than one plugin waits, however many are to come.
func TestAheadOneWaits(t *testing.T) {
	a := newAheadTest(t)
	var coming []launch
	for i := range 128 {
		coming = append(coming, a.plugin(fmt.Sprint("p", i)))
	}
	a.x.ahead.expect(coming)
	a.awaitStart("p0")
	for i, l := range coming[:8] {
		a.mustRun(l, "{}")
		a.awaitStart(fmt.Sprint("p", i+1))
		if n := len(a.starts(fmt.Sprint("p", i+2))); n > 0 {
			t.Fatalf("after plugin %d, the one after the next is started", i)
		}
	}
}

func TestAheadNotStarted(t *testing.T) {
	for name, forbid := range map[string]func(a *ahead, l launch){
		"it may act before its turn": func(a *ahead, _ launch) { a.allowed = func(string) bool { return false } },
		"it is not there yet":        func(_ *ahead, l launch) { _ = os.Rename(l.path, l.path+".later") },
		"it is a script": func(_ *ahead, l launch) {
			_ = os.Rename(l.path, l.path+".later")
			_ = os.WriteFile(l.path, []byte("#!/bin/sh\ntrue\n"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAheadTest(t)
			l := a.plugin("p")
			forbid(a.x.ahead, l)
			a.x.ahead.expect([]launch{l})
			if a.x.ahead.waiting != nil {
				t.Fatal("it waits")
			}
			_ = os.Rename(l.path+".later", l.path)
			a.mustRun(l, "{}")
			check.Equal(t, "starts", len(a.starts("p")), 1)
		})
	}
}

// A script, a program that is no CNI plugin, and what is not there may act before they read.
func TestAheadKnowsWhatWaits(t *testing.T) {
	self, err := os.Executable()
	check.Must(t, err)
	for _, path := range []string{script(t, "bridge", "true"), "/bin/sh", self, "/none", t.TempDir()} {
		if waits(path) {
			t.Errorf("%s is taken for a plugin that waits", path)
		}
	}
}

// The key startAhead counts in place of what is known.
func TestAheadNames(t *testing.T) {
	self, err := os.Executable()
	check.Must(t, err)
	for _, tc := range []struct {
		names []string
		want  bool
	}{{nil, false}, {[]string{}, false}, {[]string{"other"}, false}, {[]string{"other", filepath.Base(self)}, true}} {
		if got := newAhead(testExecutor(), tc.names).allowed(self); got != tc.want {
			t.Errorf("%q: %v", tc.names, got)
		}
	}
}

// A plugin that is not as it was, or is gone, is started anew when its turn comes.
func TestAheadStartedAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(a *aheadTest, l launch)
		want      string // of the configuration's file that the one that acts writes
	}{
		"another file has its name": {func(a *aheadTest, l launch) {
			check.Must(a.T, os.Rename(script(a.T, "other", "touch "+a.dir+`/other.done; echo '{"cniVersion": "1.0.0"}'`), l.path))
		}, "other.done"},
		"it was killed": {func(a *aheadTest, _ launch) {
			check.Must(a.T, unix.Kill(a.starts("p")[0], unix.SIGKILL))
			check.Eventually(a.T, "its end", 30*time.Second, func() error {
				if !a.x.ahead.waiting.hasEnded() {
					return fmt.Errorf("it lives")
				}
				return nil
			})
		}, "p.done"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAheadTest(t)
			l := a.plugin("p", "touch p.done")
			a.x.ahead.expect([]launch{l})
			a.awaitStart("p")
			tc.meanwhile(a, l)
			a.mustRun(l, "{}")
			if !a.has(tc.want) {
				t.Errorf("%s is missing", tc.want)
			}
		})
	}
}

// A plugin whose turn never comes is ended, and has done nothing.
func TestAheadDropped(t *testing.T) {
	for name, drop := range map[string]func(a *aheadTest, l launch){
		"nothing is to come": func(a *aheadTest, _ launch) { a.x.ahead.drop() },
		"others are to come": func(a *aheadTest, _ launch) { a.x.ahead.expect(nil) },
		"a later one comes": func(a *aheadTest, _ launch) {
			a.mustRun(a.x.ahead.coming[1], "{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAheadTest(t)
			l := a.plugin("p", "touch p.done")
			a.x.ahead.expect([]launch{l, a.plugin("later")})
			a.awaitStart("p")
			drop(a, l)
			if err := unix.Kill(a.starts("p")[0], 0); err == nil || a.has("p.done") {
				t.Errorf("it lives (%v), or has acted (%v)", err == nil, a.has("p.done"))
			}
		})
	}
}

// Another run of the same plugin is not the one that was to come.
func TestAheadMatchesTheEnvironment(t *testing.T) {
	a := newAheadTest(t)
	l := a.plugin("p")
	a.x.ahead.expect([]launch{l})
	a.awaitStart("p")
	other := launch{path: l.path, args: &invoke.Args{Command: "ADD", ContainerID: "c1", IfName: "net7", NetNS: testPlugin}}
	a.mustRun(other, "{}")
	check.Equal(t, "starts", len(a.starts("p")), 2)
	a.mustRun(l, "{}")
	check.Equal(t, "starts", len(a.starts("p")), 2)
}

// The time of a plugin begins with its turn.
func TestAheadDeadline(t *testing.T) {
	a := newAheadTest(t)
	l := a.plugin("p")
	a.x.timeout = time.Nanosecond
	a.x.ahead.expect([]launch{l})
	a.awaitStart("p")
	a.x.timeout = time.Minute
	a.mustRun(l, "{}")
	hangs := a.plugin("hangs", "hang")
	a.x.ahead.expect([]launch{hangs})
	a.awaitStart("hangs")
	a.x.timeout = 300 * time.Millisecond
	_, err := a.run(hangs, "{}")
	check.Error(t, err, "plugin hangs (ADD): did not end within")
	if err := unix.Kill(a.starts("hangs")[0], 0); err == nil {
		t.Error("it lives")
	}
}

// A configuration that no pipe takes at once reaches the plugin, and one that nobody reads
// keeps nobody waiting.
func TestAheadLargeConfiguration(t *testing.T) {
	a := newAheadTest(t)
	conf := `{"x":"` + strings.Repeat("x", 1<<20) + `"}`
	a.mustRun(a.plugin("reads"), conf)
	if got, _ := os.ReadFile(filepath.Join(a.dir, "reads.conf")); string(got) != conf {
		t.Errorf("it got %d bytes", len(got))
	}
	a.mustRun(a.plugin("deaf", "deaf"), conf)
	a.x.timeout = 300 * time.Millisecond
	_, err := a.run(a.plugin("deaf and hangs", "deaf", "hang"), conf)
	check.Error(t, err, "did not end within")
}
