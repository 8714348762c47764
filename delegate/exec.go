package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

const (
	// maxStderr is how much of a plugin's stderr goes into an error, from its end.
	maxStderr = 1 << 10
	// maxStdout bounds a plugin's answer.
	maxStdout = 4 << 20
	// pipeGrace is how long the pipes of a plugin that has ended are waited for: what
	// it left running may hold them open for ever.
	pipeGrace = 2 * time.Second
	// busyRetry is the pause before a plugin that is just being replaced is started again.
	busyRetry = 100 * time.Millisecond
)

// PluginError is what a plugin said, or what became of it, when it failed.
type PluginError struct {
	Plugin  string // the plain name of the executable
	Command string // CNI_COMMAND
	On      string // the host's interface or device that it was to work on, as "master eth1"; "" if none was named
	Code    uint   // of its CNI error, 0 if it gave none
	Msg     string
	Details string // of its CNI error
	Stderr  string // its end, for the runtime's log; it never goes into an event

	answered bool // it ended by itself, with a CNI error
}

// Error names the plugin and gives its message, without its stderr.
func (e *PluginError) Error() string {
	on := ""
	if e.On != "" {
		on = ", " + e.On
	}
	return fmt.Sprintf("plugin %s (%s%s): %s", e.Plugin, e.Command, on, e.Msg)
}

// executor runs plugins for libcni. It is the one place where a process is started.
type executor struct {
	version.PluginDecoder
	lock        *os.File // inherited by every plugin
	containerID string
	timeout     time.Duration // for one plugin
	grace       time.Duration // for its pipes after its end
	meter       *meter        // of the call that it runs for
	ahead       *ahead        // nil to start each plugin when its turn has come
}

var _ invoke.Exec = (*executor)(nil)

// FindInPath looks a plugin up, as libcni does.
func (*executor) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs one plugin, which is killed at the deadline with everything that it has
// started, and gives what it printed. A failure is a *PluginError.
func (x *executor) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	end := x.meter.phase(types.Phase{Name: types.PhaseDelegate, Plugin: filepath.Base(path), Interface: envValue(environ, "CNI_IFNAME")})
	output, err := x.exec(ctx, path, stdin, environ)
	end(failureOf(err))
	return output, err
}

// failureOf gives the error with the code that its plugin said, if it said one.
func failureOf(err error) error {
	var failure *PluginError
	if errors.As(err, &failure) && failure.Code != 0 {
		return types.WithCode(failure.Code, err)
	}
	return err
}

func (x *executor) exec(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, x.newRun(path, environ).fail("was not run: " + orSignal(ctx, "there was no time left"))
	}
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	started := time.Now()
	run := x.ahead.take(path, environ)
	var err error
	if run != nil {
		run.begun, run.waited = host.Ticks(), true
	} else {
		run, err = x.startRun(ctx, path, environ)
	}
	if err == nil {
		err = run.finish(ctx, stdin)
	}
	if ctx.Err() != nil && err != nil && !errors.Is(err, unix.ETXTBSY) {
		err = run.fail(killed(ctx, time.Since(started).Round(time.Millisecond)))
	}
	return run.outcome(err)
}

// startRun starts a plugin, again if it is just being replaced.
func (x *executor) startRun(ctx context.Context, path string, environ []string) (run *pluginRun, err error) {
	for {
		run = x.newRun(path, environ)
		if err = run.start(); !errors.Is(err, unix.ETXTBSY) {
			return run, err
		}
		if pause(ctx, busyRetry); ctx.Err() != nil {
			return run, err
		}
	}
}

// outcome gives what the plugin printed, or how it failed. Where it gave no answer, what is
// left of it is ended: it must not go on while the run is undone.
func (r *pluginRun) outcome(err error) (output []byte, _ error) {
	if err == nil {
		output, err = r.result()
	}
	if err == nil {
		return output, nil
	}
	var failed *PluginError
	if !errors.As(err, &failed) {
		failed = r.parseFailure(err)
	}
	if !failed.answered {
		r.endRemains()
	}
	return nil, failed
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// envValue gives a variable of an environment, the last one if it is set twice.
func envValue(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

func orUnknown(command string) string {
	if command == "" {
		return "?"
	}
	return command
}

func (r *pluginRun) fail(msg string) *PluginError {
	return &PluginError{Plugin: filepath.Base(r.path), Command: r.command, On: r.hostSide(msg), Msg: msg, Stderr: r.stderr.String()}
}

// hostSide names the part of the host that the plugin works on, unless the message does:
// "Link not found" is all that macvlan says of a master that is not there. A DEL has no need of it.
func (r *pluginRun) hostSide(msg string) string {
	var conf struct {
		Master, Device     string
		DeviceID, PCIBusID string
	}
	if r.command == "DEL" || json.Unmarshal(r.stdin, &conf) != nil {
		return ""
	}
	for _, named := range [][2]string{{"master", conf.Master}, {"device", conf.Device}, {"deviceID", conf.DeviceID}, {"pciBusID", conf.PCIBusID}} {
		if named[1] != "" && !strings.Contains(msg, named[1]) {
			return bounded(named[0] + " " + strconv.Quote(named[1]))
		}
	}
	return ""
}

// parseFailure makes an error of a plugin that ended with a failure: what it printed
// as a CNI error, else how it ended.
func (r *pluginRun) parseFailure(err error) *PluginError {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return r.fail(fmt.Sprintf("could not be run: %v", err))
	}
	var said struct {
		Code    uint   `json:"code"`
		Msg     string `json:"msg"`
		Details string `json:"details"`
	}
	if json.Unmarshal(r.stdout.data, &said) != nil || said.Msg == "" && said.Code == 0 {
		return r.fail(fmt.Sprintf("failed (%v) and gave no CNI error", err))
	}
	failure := r.fail(orUnsaid(bounded(said.Msg)))
	failure.Code, failure.Details, failure.answered = said.Code, bounded(said.Details), true
	return failure
}

// bounded cuts a plugin's message to the length that ours may have.
func bounded(text string) string {
	const enough = 4 << 10
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "") + "…"
}

func orUnsaid(msg string) string {
	if msg == "" {
		return "failed without a message"
	}
	return msg
}

// result gives what the plugin printed. ADD must print a JSON object; what other
// verbs print is nobody's business.
func (r *pluginRun) result() ([]byte, error) {
	if r.stdout.full {
		return nil, r.fail(fmt.Sprintf("printed more than %d bytes", maxStdout))
	}
	output := bytes.TrimSpace(r.stdout.data)
	if r.command != "ADD" {
		return output, nil
	}
	var asObject map[string]json.RawMessage
	if len(output) == 0 {
		return nil, r.fail("ended with success but printed no result")
	}
	if err := json.Unmarshal(output, &asObject); err != nil || asObject == nil {
		return nil, r.fail("ended with success but printed something that is not a result: " + excerpt(output))
	}
	if err := checkResult(output, r.stdin); err != nil {
		return nil, r.fail("ended with success but nobody can read its result: " + bounded(err.Error()))
	}
	return output, nil
}

// excerpt gives the beginning of what a plugin printed, quoted, short enough for a
// message.
func excerpt(output []byte) string {
	const enough = 80
	if len(output) > enough {
		return fmt.Sprintf("%q…", output[:enough])
	}
	return fmt.Sprintf("%q", output)
}

// describe replaces libcni's account of a failing plugin, which repeats itself, by
// the plugin's own.
func describe(err error) error {
	var failure *PluginError
	if !errors.As(err, &failure) {
		return err
	}
	code := failure.Code
	if code == 0 {
		code = types.CodeFailed
	}
	return types.WithCode(code, failure)
}

// PluginDetails gives, for the runtime's log, the details and the stderr of every
// plugin in an error's tree.
func PluginDetails(err error) string {
	var details []string
	for _, failure := range pluginErrors(err) {
		for _, text := range []string{failure.Details, failure.Stderr} {
			if text != "" {
				details = append(details, failure.Plugin+": "+text)
			}
		}
	}
	return strings.Join(details, "; ")
}

func pluginErrors(err error) []*PluginError {
	var found []*PluginError
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case nil:
	case *PluginError:
		found = append(found, e)
	case interface{ Unwrap() error }:
		found = pluginErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			found = append(found, pluginErrors(inner)...)
		}
	}
	return found
}
