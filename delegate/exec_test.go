package delegate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// script writes a plugin of one shell script and gives its path.
func script(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeTestFile(t, path, "#!/bin/sh\n"+body+"\n", 0o755)
	return path
}

// execute runs a plugin for ADD, with time enough for all that is to come to an end
// by itself.
func execute(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	return testExecutor().ExecPlugin(t.Context(), path, []byte(`{"stdin": true}`), []string{"PATH=/usr/bin:/bin", "CNI_COMMAND=ADD"})
}

// enoughGrace is for tests that wait it out: on a busy machine too, what the plugin has
// printed is read by then.
const enoughGrace = time.Second

func testExecutor() *executor {
	return &executor{containerID: "c1", timeout: time.Minute, grace: time.Minute}
}

func asPluginError(t *testing.T, err error) *PluginError {
	t.Helper()
	var failure *PluginError
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a PluginError", err)
	}
	return failure
}

func TestExecSuccess(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"stdin":        {`cat`, `{"stdin": true}`},
		"empty object": {`echo '{}'`, `{}`},
		"space around": {`printf '\n  {"a":1} \n\n'`, `{"a":1}`},
		"noise":        {`echo warning >&2; echo '{"a":1}'`, `{"a":1}`},
		"delegate env": {`echo "{\"of\": \"$PLEXUS_DELEGATE_OF\", \"command\": \"$CNI_COMMAND\"}"`, `{"of": "c1", "command": "ADD"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := execute(t, script(t, "plugin", test.body))
			if err != nil || string(got) != test.want {
				t.Errorf("got %q and %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestExecFailure(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want PluginError
	}{
		"no output":      {`true`, PluginError{Msg: "ended with success but printed no result"}},
		"blank output":   {`echo; echo`, PluginError{Msg: "ended with success but printed no result"}},
		"garbage":        {`echo hello`, PluginError{Msg: `ended with success but printed something that is not a result: "hello"`}},
		"an array":       {`echo '[1]'`, PluginError{Msg: `ended with success but printed something that is not a result: "[1]"`}},
		"null":           {`echo null`, PluginError{Msg: `ended with success but printed something that is not a result: "null"`}},
		"two objects":    {`echo '{} {}'`, PluginError{Msg: `ended with success but printed something that is not a result: "{} {}"`}},
		"much garbage":   {`head -c 500 /dev/zero | tr '\0' x`, PluginError{Msg: `ended with success but printed something that is not a result: "` + strings.Repeat("x", 80) + `"…`}},
		"huge":           {`head -c 5000000 /dev/zero | tr '\0' ' '; echo '{}'`, PluginError{Msg: "printed more than 4194304 bytes"}},
		"CNI error":      {`echo '{"cniVersion": "1.0.0", "code": 11, "msg": "try later", "details": "why"}'; exit 1`, PluginError{Code: 11, Msg: "try later", Details: "why", answered: true}},
		"code alone":     {`echo '{"code": 999}'; exit 1`, PluginError{Code: 999, Msg: "failed without a message", answered: true}},
		"message alone":  {`echo '{"msg": "no"}'; exit 1`, PluginError{Msg: "no", answered: true}},
		"no CNI error":   {`echo broken; echo reason >&2; exit 3`, PluginError{Msg: "failed (exit status 3) and gave no CNI error", Stderr: "reason"}},
		"nothing at all": {`exit 1`, PluginError{Msg: "failed (exit status 1) and gave no CNI error"}},
		"a signal":       {`kill -KILL $$`, PluginError{Msg: "failed (signal: killed) and gave no CNI error"}},
		"a result, but":  {`echo '{"cniVersion": "1.0.0", "ips": []}'; exit 1`, PluginError{Msg: "failed (exit status 1) and gave no CNI error"}},
		"stderr beside":  {`echo secret >&2; echo '{"code": 7, "msg": "no"}'; exit 1`, PluginError{Code: 7, Msg: "no", Stderr: "secret", answered: true}},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := execute(t, script(t, "failing", test.body))
			test.want.Plugin, test.want.Command = "failing", "ADD"
			if got := *asPluginError(t, err); got != test.want {
				t.Errorf("got  %#v\nwant %#v", got, test.want)
			}
			if output != nil {
				t.Errorf("output beside the error: %q", output)
			}
			if want := "plugin failing (ADD): " + test.want.Msg; err.Error() != want {
				t.Errorf("says %q, want %q", err, want)
			}
		})
	}
}

// A plugin that does not say what it failed on: the error does.
func TestExecFailureNamesTheHostSide(t *testing.T) {
	for name, test := range map[string]struct{ command, conf, msg, want string }{
		"a master":         {"ADD", `{"master": "eth7", "deviceID": "d"}`, "Link not found", `plugin p (ADD, master "eth7"): Link not found`},
		"a device":         {"CHECK", `{"device": "ens1"}`, "no", `plugin p (CHECK, device "ens1"): no`},
		"a device ID":      {"ADD", `{"deviceID": "0000:3b:02.0", "pciBusID": "0000:3b:02.0"}`, "no", `plugin p (ADD, deviceID "0000:3b:02.0"): no`},
		"it says so":       {"ADD", `{"master": "eth7"}`, `no link "eth7"`, `plugin p (ADD): no link "eth7"`},
		"nothing is named": {"ADD", `{"bridge": "br0"}`, "no", "plugin p (ADD): no"},
		"DEL needs none":   {"DEL", `{"master": "eth7"}`, "no", "plugin p (DEL): no"},
		"another type":     {"ADD", `{"master": 7}`, "no", "plugin p (ADD): no"},
		"no JSON":          {"ADD", `{`, "no", "plugin p (ADD): no"},
	} {
		t.Run(name, func(t *testing.T) {
			run := (&executor{}).newRun("/opt/cni/bin/p", []string{"CNI_COMMAND=" + test.command})
			run.stdin = []byte(test.conf)
			if got := run.fail(test.msg).Error(); got != test.want {
				t.Errorf("says %q, want %q", got, test.want)
			}
		})
	}
}

func TestExecPluginThatCannotStart(t *testing.T) {
	path := script(t, "locked", "true")
	if err := os.WriteFile(path, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := execute(t, path)
	if got := asPluginError(t, err); got.Plugin != "locked" || !strings.HasPrefix(got.Msg, "could not be run: ") || !strings.Contains(got.Msg, "permission denied") {
		t.Errorf("got %v", got)
	}
}

// What other verbs print is nobody's business.
func TestExecOtherVerbs(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{"nothing": {"true", ""}, "noise": {"echo hello", "hello"}} {
		t.Run(name, func(t *testing.T) {
			environ := []string{"CNI_COMMAND=ADD", "CNI_COMMAND=DEL"} // the last one counts, as for the plugin
			got, err := testExecutor().ExecPlugin(t.Context(), script(t, "plugin", test.body), nil, environ)
			if err != nil || string(got) != test.want {
				t.Errorf("got %q and %v, want %q", got, err, test.want)
			}
		})
	}
	_, err := testExecutor().ExecPlugin(t.Context(), script(t, "plugin", "exit 1"), nil, nil)
	if got := asPluginError(t, err); got.Command != "?" {
		t.Errorf("the command is called %q without CNI_COMMAND", got.Command)
	}
}

func TestExecStderrIsBoundedAndApart(t *testing.T) {
	_, err := execute(t, script(t, "loud", `head -c 100000 /dev/zero | tr '\0' a >&2; printf '\377the end' >&2; exit 1`))
	failure := asPluginError(t, err)
	if len(failure.Stderr) > maxStderr || !strings.HasSuffix(failure.Stderr, "a?the end") {
		t.Errorf("%d bytes of stderr, ending in %q", len(failure.Stderr), failure.Stderr[max(0, len(failure.Stderr)-20):])
	}
	if len(failure.Stderr) < maxStderr/2 {
		t.Errorf("only %d bytes of stderr are kept", len(failure.Stderr))
	}
	if strings.Contains(err.Error(), "the end") {
		t.Errorf("stderr is in the message: %s", err)
	}
	if details := PluginDetails(fmt.Errorf("outside: %w", err)); !strings.HasPrefix(details, "loud: aaa") {
		t.Errorf("details: %.40q", details)
	}
}

func TestPluginDetails(t *testing.T) {
	one := &PluginError{Plugin: "a", Details: "d", Stderr: "s"}
	two := types.WithCode(11, &PluginError{Plugin: "b", Stderr: "t"})
	err := fmt.Errorf("pod x: %w", types.Join(one, errors.New("other"), fmt.Errorf("undo: %w", types.Join(two, &PluginError{Plugin: "silent"}))))
	if got, want := PluginDetails(err), "a: d; a: s; b: t"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := PluginDetails(nil); got != "" {
		t.Errorf("details of no error: %q", got)
	}
}

func TestDescribe(t *testing.T) {
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		err  error
		want string
		code uint
	}{
		"none":         {nil, "", 0},
		"not a plugin": {plain, "plain", 0},
		"with a code":  {fmt.Errorf("libcni says: %w", &PluginError{Plugin: "p", Command: "ADD", Code: 11, Msg: "m"}), "plugin p (ADD): m", 11},
		"with no code": {&PluginError{Plugin: "p", Command: "DEL", Msg: "m"}, "plugin p (DEL): m", types.CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			got := describe(test.err)
			if test.err == nil {
				if got != nil {
					t.Errorf("made %v of no error", got)
				}
				return
			}
			if got.Error() != test.want || types.CodeOf(got, 0) != test.code {
				t.Errorf("got %q with code %d", got, types.CodeOf(got, 0))
			}
		})
	}
}

// fifo makes a named pipe by which a plugin tells that it has come to a place, and
// gives a function that waits for the line it writes.
func fifo(t *testing.T) (path string, line func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) // both ends: opening waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return path, func() string {
		if err := file.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		text, err := bufio.NewReader(file).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// The deadline ends the plugin and the child that holds its pipes, without waiting for
// those.
func TestExecDeadlineKillsTheGroup(t *testing.T) {
	said, line := fifo(t)
	path := script(t, "hanging", `sleep 1000 & echo $! >'`+said+`'; echo partial; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	grandchild := make(chan int, 1)
	go func() { // the deadline comes when the grandchild is there
		defer cancel()
		grandchild <- atoi(t, line())
	}()
	_, err := testExecutor().ExecPlugin(ctx, path, nil, []string{"CNI_COMMAND=ADD", "PATH=/usr/bin:/bin"})
	failure := asPluginError(t, err)
	if failure.Plugin != "hanging" || failure.Command != "ADD" || !strings.Contains(failure.Msg, "did not end within") || !strings.Contains(failure.Msg, "killed") {
		t.Errorf("got %v", failure)
	}
	check.Ends(t, <-grandchild)
}

func TestExecOwnDeadline(t *testing.T) {
	x := testExecutor()
	x.timeout = 50 * time.Millisecond
	_, err := x.ExecPlugin(t.Context(), script(t, "hanging", "exec sleep 1000"), nil, []string{"PATH=/usr/bin:/bin"})
	if failure := asPluginError(t, err); !strings.Contains(failure.Msg, "did not end within") {
		t.Errorf("got %v", failure)
	}
}

// A plugin that has answered and ended has done its work; a daemon that it left
// behind, and that holds its stdout, lives on.
func TestExecDaemonLeftBehind(t *testing.T) {
	said, line := fifo(t)
	x := testExecutor()
	x.grace = enoughGrace
	got, err := x.ExecPlugin(t.Context(), script(t, "starter", `sleep 1000 & echo $! >'`+said+`'; echo '{"a":1}'`), nil, []string{"CNI_COMMAND=ADD", "PATH=/usr/bin:/bin"})
	daemon := atoi(t, line())
	defer func() { _ = unix.Kill(daemon, unix.SIGKILL) }()
	if err != nil || string(got) != `{"a":1}` {
		t.Errorf("got %q and %v", got, err)
	}
	if err := unix.Kill(daemon, 0); err != nil {
		t.Errorf("the daemon was killed: %v", err)
	}
}

// A plugin that fails is not made a success by what it left behind.
func TestExecFailureWithDaemonLeftBehind(t *testing.T) {
	said, line := fifo(t)
	x := testExecutor()
	x.grace = enoughGrace
	_, err := x.ExecPlugin(t.Context(), script(t, "starter", `sleep 1000 & echo $! >'`+said+`'; echo '{"code": 11, "msg": "no"}'; exit 1`), nil, []string{"PATH=/usr/bin:/bin"})
	defer func() { _ = unix.Kill(atoi(t, line()), unix.SIGKILL) }()
	if failure := asPluginError(t, err); failure.Code != 11 || failure.Msg != "no" {
		t.Errorf("got %v", failure)
	}
}

// openForWriting opens a plugin as one does who replaces it. Some kernels (6.11, 6.12)
// start it all the same.
func openForWriting(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	err = testExecutor().newRun(path, nil).start()
	if err == nil {
		t.Skip("this kernel starts executables that are open for writing")
	}
	if !errors.Is(err, unix.ETXTBSY) {
		t.Fatalf("a plugin that is being written: %v, want %v", err, unix.ETXTBSY)
	}
	return file
}

// A plugin that is being replaced is started again until whoever writes it is done.
func TestExecTextFileBusyIsRetried(t *testing.T) {
	path := script(t, "replaced", "cat")
	writing := openForWriting(t, path)
	time.AfterFunc(busyRetry/2, func() { _ = writing.Close() })
	got, err := execute(t, path)
	if err != nil || string(got) != `{"stdin": true}` {
		t.Errorf("got %q and %v", got, err)
	}
}

func TestExecTextFileBusyForGood(t *testing.T) {
	path := script(t, "replaced", "cat")
	openForWriting(t, path)
	x := testExecutor()
	x.timeout = busyRetry / 2
	_, err := x.ExecPlugin(t.Context(), path, nil, []string{"CNI_COMMAND=ADD"})
	if failure := asPluginError(t, err); failure.Plugin != "replaced" || !strings.Contains(failure.Msg, "text file busy") {
		t.Errorf("got %v", failure)
	}
}

// Delegates inherit the lock: as long as one runs, or what it started, the lock is
// taken, whatever has become of the caller.
func TestExecLockIsInherited(t *testing.T) {
	j := journal.New(t.TempDir())
	lock, free, err := j.TryLock("c1")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	said, line := fifo(t)
	x := testExecutor()
	x.lock, x.grace = lock.File(), enoughGrace
	_, err = x.ExecPlugin(t.Context(), script(t, "slow", `sleep 1000 & echo $! >'`+said+`'; echo '{}'`), nil, []string{"CNI_COMMAND=ADD", "PATH=/usr/bin:/bin"})
	if err != nil {
		t.Fatal(err)
	}
	orphan := atoi(t, line())
	_ = lock.File().Close() // the caller is gone, without a word
	_, free, err = j.TryLock("c1")
	if free || err != nil {
		t.Errorf("while something of the delegate runs: free %v, %v", free, err)
	}
	if err := unix.Kill(orphan, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	check.Ends(t, orphan)
	again, free, err := j.TryLock("c1")
	if err != nil || !free {
		t.Fatalf("after it: free %v, %v", free, err)
	}
	again.Release()
}

// libcni finds and runs plugins through the executor, and its own account of a failure
// gives way to the plugin's.
func TestExecThroughLibcni(t *testing.T) {
	path := script(t, "plugin", `[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.1.0"]}' && exit
		echo '{"cniVersion": "1.1.0", "code": 50, "msg": "not ready"}'; exit 1`)
	engine := &Engine{Config: &types.Config{CNIDir: t.TempDir(), DelegateTimeout: types.Duration(time.Minute)}, Path: []string{filepath.Dir(path)}}
	list, err := listOf(&types.Attachment{Network: "n", Config: `{"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "plugin"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	sandbox := &types.Sandbox{ContainerID: "c1", IfName: "eth0"}
	attachment := &types.Attachment{Interface: "net0", CapabilityArgs: map[string]json.RawMessage{}}
	_, err = engine.cni(nil, "c1", t.TempDir()).AddNetworkList(t.Context(), list, runtimeConf(attachment, sandbox, "/proc/self/ns/net"))
	described := describe(err)
	if described == nil || described.Error() != "plugin plugin (ADD): not ready" || types.CodeOf(described, 0) != 50 {
		t.Errorf("got %v with code %d", described, types.CodeOf(described, 0))
	}
}
