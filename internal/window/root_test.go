package window

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/version"
)

// ran is what a command line gave.
type ran struct {
	code           int
	stdout, stderr string
}

// runWith runs a command line, with a standard input.
func runWith(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr}, args)
	return ran{code, stdout.String(), stderr.String()}
}

// discard are streams for a command that nobody runs.
func discard() genericiooptions.IOStreams {
	return genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
}

func TestRoot(t *testing.T) {
	versionLine := version.String(program) + "\n"
	for name, tc := range map[string]struct {
		args []string
		want ran
	}{
		"the flag":              {[]string{"--version"}, ran{exitFine, versionLine, ""}},
		"the command":           {[]string{"version"}, ran{exitFine, versionLine, ""}},
		"no such command":       {[]string{"ghost"}, ran{exitUsage, "", "kubectl-plexus: there is no command \"ghost\"; see kubectl-plexus --help\n"}},
		"a misspelt command":    {[]string{"verzion"}, ran{exitUsage, "", "kubectl-plexus: there is no command \"verzion\", perhaps version is meant; see kubectl-plexus --help\n"}},
		"no such flag":          {[]string{"--ghost"}, ran{exitUsage, "", "kubectl-plexus: unknown flag: --ghost\n"}},
		"no such flag, beneath": {[]string{"version", "--ghost"}, ran{exitUsage, "", "kubectl-plexus: unknown flag: --ghost\n"}},
		"help of no command":    {[]string{"help", "ghost"}, ran{exitUsage, "", "kubectl-plexus: there is no command \"ghost\"; see kubectl-plexus --help\n"}},
		"no such shell":         {[]string{"completion", "ghost"}, ran{exitUsage, "", "kubectl-plexus: there is no command \"ghost\"; see kubectl-plexus --help\n"}},
		"a shell and more":      {[]string{"completion", "bash", "x"}, ran{exitUsage, "", "kubectl-plexus: unknown command \"x\" for \"kubectl plexus completion bash\"\n"}},
		"an argument too many":  {[]string{"version", "x"}, ran{exitUsage, "", "kubectl-plexus: unknown command \"x\" for \"kubectl plexus version\"\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := runWith(t, "", tc.args...); diff != tc.want {
				t.Errorf("got  %+v\nwant %+v", diff, tc.want)
			}
		})
	}
}

// The help is for whoever types it into kubectl, and completion for the executable.
func TestRootHelp(t *testing.T) {
	got := runWith(t, "")
	check.Equal(t, "exit code", got.code, exitFine)
	check.Contains(t, "help", got.stdout, "kubectl plexus [command]", "--kubeconfig", "--namespace", "--as ", "3 could not look")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := runWith(t, "", "completion", shell)
		check.Equal(t, "exit code for "+shell, got.code, exitFine)
		check.Contains(t, "completion for "+shell, got.stdout, "kubectl-plexus")
	}
}

// A command that asks no cluster does not show how to reach one.
func TestHelpHasNoClusterFlags(t *testing.T) {
	for command, asks := range map[string]bool{"explain": true, "validate": true, "get": true, "inspect": true, "snapshot": true, "gc": false} {
		help := runWith(t, "", command, "--help").stdout
		check.Contains(t, "help of "+command, help, "--namespace")
		check.Equal(t, "cluster flags in the help of "+command, strings.Contains(help, "--kubeconfig"), asks)
	}
}

// A signal ends a command that waits for its standard input.
func TestRunStopsWhileReading(t *testing.T) {
	for _, args := range [][]string{{"validate", "-"}, {"explain", "-f", "-"}, {"inspect", "--from", "-", "a/b"}} {
		in, _ := io.Pipe() // nobody ever writes
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		code := Run(ctx, genericiooptions.IOStreams{In: in, Out: io.Discard, ErrOut: io.Discard}, args)
		check.Equal(t, "exit code of "+args[0], code, exitBlind)
	}
}

func TestExitCode(t *testing.T) {
	plain := errors.New("no answer")
	for name, tc := range map[string]struct {
		err    error
		code   int
		stderr string
	}{
		"nothing wrong":      {nil, 0, ""},
		"wrong":              {wrong(plain), 1, "kubectl-plexus: no answer\n"},
		"wrong, and shown":   {fmt.Errorf("pod a/b: %w", errShown), 1, ""},
		"usage":              {misuse(plain), 2, "kubectl-plexus: no answer\n"},
		"usage, wrapped":     {fmt.Errorf("--x: %w", misuse(plain)), 2, "kubectl-plexus: --x: no answer\n"},
		"could not look":     {plain, 3, "kubectl-plexus: no answer\n"},
		"a hostile name":     {errors.New("no interface \x1b[2J"), 3, "kubectl-plexus: no interface \\x1b[2J\n"},
		"was told to stop":   {context.Canceled, 3, "kubectl-plexus: context canceled\n"},
		"no error is marked": {errors.Join(wrong(nil), misuse(nil)), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			report(&stderr, tc.err)
			check.Equal(t, "exit code", exitCode(tc.err), tc.code)
			check.Equal(t, "stderr", stderr.String(), tc.stderr)
		})
	}
}
