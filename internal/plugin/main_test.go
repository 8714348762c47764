package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// since is the first version of CNI with a verb.
var since = map[string]string{"ADD": "0.3.0", "DEL": "0.3.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

func TestEveryVerbInEveryVersion(t *testing.T) {
	for verb, first := range since {
		for _, version := range append([]string{"0.2.0", "9.9.9"}, types.CNIVersions...) {
			t.Run(verb+" "+version, func(t *testing.T) {
				o := callProbe(t, verb, version)
				if version < first || version == "9.9.9" {
					check.Equal(t, "code", o.failure.Code, cnitypes.ErrIncompatibleCNIVersion)
					check.Equal(t, "what the probe did", o.stderr, "")
					return
				}
				check.Equal(t, "exit code", o.code, 0)
				check.Equal(t, "what the probe did", o.stderr, fmt.Sprintf("open %s, namespace \"/run/netns/none\"\nverb %s\ndone: <nil>\n", verb, strings.ToLower(verb)))
				if verb == "ADD" {
					check.Equal(t, "version of the result", o.failure.CNIVersion, version)
					check.Equal(t, "has the address", strings.Contains(o.stdout, "10.0.0.0/24"), true)
				} else {
					check.Equal(t, "standard output", o.stdout, "")
				}
			})
		}
	}
}

// A plugin of every version answers the old ones with what they can say. An interface without
// an address is no failure: it is made, and a runtime would have to undo it.
func TestOldVersions(t *testing.T) {
	for config, version := range map[string]string{configOf("0.1.0"): "0.1.0", configOf("0.2.0"): "0.2.0", `{"name":"n","type":"probe"}`: "0.1.0"} {
		for does, want := range map[string]string{"": `"ip":"10.0.0.0/24"`, "bare": `"dns":{"nameservers":["192.0.2.53"]}`} {
			t.Run(version+" "+does, func(t *testing.T) {
				o := run(t, command(t, os.Args[0], "ADD", config, asProbe+"=1", probeOld+"=1", probeDoes+"="+does))
				check.Equal(t, "exit code", o.code, 0)
				check.Equal(t, "version of the result", o.failure.CNIVersion, version)
				check.Contains(t, "result", strings.Join(strings.Fields(o.stdout), ""), want)
				if err := types.CheckResult([]byte(o.stdout), version); err != nil {
					t.Error(err)
				}
				check.Equal(t, "exit code of DEL", run(t, command(t, os.Args[0], "DEL", config, asProbe+"=1", probeOld+"=1")).code, 0)
			})
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args           []string
		stdout, stderr string // what they begin with
		code           int
	}{
		{[]string{"--version"}, "probe ", "", 0},
		{[]string{"-version"}, "probe ", "", 0},
		{[]string{"version"}, "probe ", "", 0},
		{[]string{"--help"}, "probe's help\n", "", 0},
		{[]string{"-help"}, "probe's help\n", "", 0},
		{[]string{"-h"}, "probe's help\n", "", 0},
		{[]string{"help"}, "probe's help\n", "", 0},
		{[]string{"ADD"}, "", `probe: unknown argument "ADD"; a CNI plugin is called by a runtime, see probe --help`, 2},
		{[]string{""}, "", `probe: unknown argument ""`, 2},
		{[]string{"--nonsense", "--help"}, "", `probe: unknown argument "--nonsense"`, 2},
		{nil, "", "probe ", 0},
	} {
		cmd := exec.Command(os.Args[0], tc.args...)
		cmd.Env = []string{asProbe + "=1", "GOCOVERDIR=" + t.TempDir()}
		o := run(t, cmd)
		if !strings.HasPrefix(o.stdout, tc.stdout) || !strings.HasPrefix(o.stderr, tc.stderr) || o.code != tc.code {
			t.Errorf("%q: %+v", tc.args, o)
		}
		if (tc.stdout == "") != (o.stdout == "") || (tc.stderr == "") != (o.stderr == "") {
			t.Errorf("%q: one of the outputs is to be empty: %+v", tc.args, o)
		}
	}
}

func TestHostNetwork(t *testing.T) {
	const own = "/proc/self/ns/net"
	for _, tc := range []struct {
		verb, override, opened string
		code                   uint // of the CNI error, 0 for success
	}{
		{"ADD", "", own, types.CodeInvalidEnv},
		{"ADD", "no", own, types.CodeInvalidEnv},
		{"ADD", "1", own, 0},
		{"ADD", "true", own, 0},
		{"ADD", "TRUE", own, 0},
		{"DEL", "", "", 0},
		{"DEL", "1", own, 0},
		{"CHECK", "", own, 0},
	} {
		t.Run(tc.verb+" "+tc.override, func(t *testing.T) {
			o := callProbe(t, tc.verb, "1.1.0", "CNI_NETNS="+own, "CNI_NETNS_OVERRIDE="+tc.override)
			check.Equal(t, "code", o.failure.Code, tc.code)
			check.Equal(t, "the first line", strings.Split(o.stderr, "\n")[0], fmt.Sprintf("open %s, namespace %q", tc.verb, tc.opened))
			check.Equal(t, "the verb ran", strings.Contains(o.stderr, "verb "), tc.code == 0)
			if tc.code != 0 {
				check.Equal(t, "message", o.failure.Msg, "CNI_NETNS: "+own+" is the host's own network namespace")
				check.Equal(t, "it is logged", strings.Contains(o.stderr, "done: "+o.failure.Msg), true)
			}
		})
	}
}

func TestErrorIsPrinted(t *testing.T) {
	for verb := range since {
		o := callProbe(t, verb, "1.1.0", probeDoes+"=fail")
		check.Equal(t, verb+": exit code", o.code, 1)
		check.Equal(t, verb+": code", o.failure.Code, types.CodeTryAgainLater)
		check.Equal(t, verb+": message", o.failure.Msg, "not now")
		check.Equal(t, verb+": it is logged", strings.HasSuffix(o.stderr, "\ndone: not now\n"), true)
	}
	o := callProbe(t, "ADD", "1.1.0", probeDoes+"=refuse")
	check.Equal(t, "code of a call that cannot be read", o.failure.Code, types.CodeInvalidConfig)
	check.Equal(t, "what the probe did", o.stderr, "open ADD, namespace \"/run/netns/none\"\n")
	o = callProbe(t, "NONSENSE", "1.1.0")
	check.Equal(t, "code of an unknown verb", o.failure.Code, types.CodeInvalidEnv)
	check.Equal(t, "its exit code", o.code, 1)
}

func TestGuard(t *testing.T) {
	o := callProbe(t, "ADD", "1.1.0", probeGuard+"=done")
	check.Equal(t, "done", o.stdout+o.stderr+fmt.Sprint(o.code), "0")
	o = callProbe(t, "DEL", "1.1.0", probeGuard+"=fail")
	check.Equal(t, "code", o.failure.Code, 77)
	check.Equal(t, "message", o.failure.Msg, "DEL is guarded")
	check.Equal(t, "exit code and standard error", o.stderr+fmt.Sprint(o.code), "1")
	o = callProbe(t, "DEL", "1.1.0", probeGuard+"=pass")
	check.Equal(t, "the verb ran", strings.Contains(o.stderr, "verb del"), true)
}

func TestProcessSettings(t *testing.T) {
	o := callProbe(t, "DEL", "1.1.0", probeDoes+"=settings")
	check.Equal(t, "settings", strings.Contains(o.stderr, fmt.Sprintf("\nGC -1, memory %d, threads 1\n", 64<<20)), true)
}

// Asked to stop, a verb ends by itself, and its error is printed.
func TestStopIsAsked(t *testing.T) {
	for _, signal := range []os.Signal{unix.SIGTERM, unix.SIGINT} {
		cmd := command(t, os.Args[0], "ADD", configOf("1.1.0"), asProbe+"=1", probeDoes+"=wait")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stdout strings.Builder
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stderr)
		for line := ""; line != "verb add\n"; {
			if line, err = lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		check.Equal(t, signal.String()+": exit code", cmd.ProcessState.ExitCode(), 1)
		check.Equal(t, signal.String()+": says why", strings.Contains(stdout.String(), "context canceled"), true)
	}
}

// A runtime that is gone does not end the plugin: it comes to its end by itself.
func TestNobodyReads(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	cmd := command(t, os.Args[0], "ADD", configOf("1.1.0"), asProbe+"=1")
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = writer, &stderr
	_ = cmd.Run()
	check.Equal(t, "exit code", cmd.ProcessState.ExitCode(), 1)
	check.Equal(t, "says why", strings.Contains(stderr.String(), "probe: print the error: write /dev/stdout: broken pipe"), true)
}

func TestToCNI(t *testing.T) {
	inner := &cnitypes.Error{Code: 77, Msg: "no addresses", Details: "all taken"}
	for name, tc := range map[string]struct {
		err     error
		details func(error) string
		want    *cnitypes.Error
	}{
		"nothing":                {nil, nil, nil},
		"plain":                  {errors.New("x"), nil, &cnitypes.Error{Code: types.CodeFailed, Msg: "x"}},
		"coded":                  {types.WithCode(types.CodeTryAgainLater, errors.New("x")), nil, &cnitypes.Error{Code: types.CodeTryAgainLater, Msg: "x"}},
		"of an IPAM plugin":      {types.WithCode(78, fmt.Errorf("IPAM plugin p: %w", inner)), nil, &cnitypes.Error{Code: 78, Msg: "IPAM plugin p: no addresses; all taken", Details: "all taken"}},
		"without a code of ours": {fmt.Errorf("p: %w", inner), nil, &cnitypes.Error{Code: 77, Msg: "p: no addresses; all taken", Details: "all taken"}},
		"without any code":       {&cnitypes.Error{Msg: "x"}, nil, &cnitypes.Error{Code: types.CodeFailed, Msg: "x"}},
		"details":                {errors.New("x"), func(err error) string { return "of " + err.Error() }, &cnitypes.Error{Code: types.CodeFailed, Msg: "x", Details: "of x"}},
	} {
		check.Equal(t, name, (&Main{Details: tc.details}).toCNI(tc.err), tc.want)
	}
}
