package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newTool(t *testing.T) (tool, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return tool{store: store(filepath.Join(t.TempDir(), "results")), out: &out}, &out
}

// lastLine is what a script reads.
func lastLine(out *bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1]
}

func TestRunsAddUp(t *testing.T) {
	tool, out := newTool(t)
	events := func(action string) string {
		return `echo '{"Action":"run","Package":"p","Test":"T"}{"Action":"` + action + `","Package":"p","Test":"T"}' | sed 's/}{/}\n{/'`
	}
	for _, action := range []string{passed, skipped} {
		if err := tool.dispatch([]string{"run", "r", "sh", "-c", events(action) + `; echo '{"Action":"pass","Package":"p"}'`}); err != nil {
			t.Fatalf("run with a test that ends in %s: %v", action, err)
		}
	}
	if err := tool.dispatch([]string{"report"}); err != nil {
		t.Fatal(err)
	}
	if got := lastLine(out); got != "1 passed, 0 failed, 1 skipped" {
		t.Errorf("last line is %q", got)
	}
	if !strings.Contains(out.String(), "SKIPPED [r] p T\n\tno reason given") {
		t.Errorf("the skipped test is not named in\n%s", out)
	}
}

func TestWhatProvesNothingFails(t *testing.T) {
	for name, args := range map[string][]string{
		"a run without a test":           {"run", "r", "true"},
		"a run that fails without a one": {"run", "r", "false"},
		"a run that cannot start":        {"run", "r", "/no/such/command"},
		"a step":                         {"step", "s", "false"},
		"coverage without a profile":     {"cover", "85", "x/p", "/no/such/profile"},
	} {
		t.Run(name, func(t *testing.T) {
			tool, out := newTool(t)
			if err := tool.dispatch(args); !errors.Is(err, errFailed) {
				t.Errorf("error is %v, want %v", err, errFailed)
			}
			if err := tool.dispatch([]string{"report"}); !errors.Is(err, errFailed) {
				t.Errorf("report: error is %v, want %v", err, errFailed)
			}
			if got := lastLine(out); got != "0 passed, 1 failed, 0 skipped" {
				t.Errorf("last line is %q", got)
			}
		})
	}
}

func TestStepCountsOnlyWhatIsNotCounted(t *testing.T) {
	tool, out := newTool(t)
	record := `echo '{"run":"r","outcome":"fail"}' >>` + string(tool.store)
	if err := tool.dispatch([]string{"step", "s", "sh", "-c", record + "; exit 1"}); !errors.Is(err, errFailed) {
		t.Errorf("error is %v, want %v", err, errFailed)
	}
	if err := tool.dispatch([]string{"step", "s", "true"}); err != nil {
		t.Error(err)
	}
	if err := tool.report(); !errors.Is(err, errFailed) {
		t.Errorf("report: error is %v, want %v", err, errFailed)
	}
	if got := lastLine(out); got != "1 passed, 1 failed, 0 skipped" {
		t.Errorf("last line is %q", got)
	}
}

func TestWithoutStoreARunReportsOnItself(t *testing.T) {
	var out bytes.Buffer
	if err := (tool{out: &out}).dispatch([]string{"step", "s", "true"}); err != nil {
		t.Fatal(err)
	}
	if got := lastLine(&out); got != "1 passed, 0 failed, 0 skipped" {
		t.Errorf("last line is %q", got)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"run"}, {"step", "s"}, {"jump", "a", "b"}} {
		if err := (tool{}).dispatch(args); !errors.Is(err, errUsage) {
			t.Errorf("%q: error is %v, want the usage", args, err)
		}
	}
}

func TestCoverage(t *testing.T) {
	profile := func(lines string) string {
		path := filepath.Join(t.TempDir(), "profile")
		if err := os.WriteFile(path, []byte("mode: atomic\n"+lines), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unit := profile("m/a/x.go:1.1,2.2 3 0\nm/a/x.go:3.1,4.2 1 7\nm/ab/x.go:1.1,2.2 9 0\n")
	netns := profile("m/a/x.go:1.1,2.2 3 1\nm/a/x.go:3.1,4.2 1 0\nm/a/b/y.go:1.1,2.2 4 0\n")

	for _, tc := range []struct {
		profiles []string
		want     float64
	}{
		{[]string{unit}, 25},
		{[]string{unit, netns}, 50},
		{[]string{netns, unit, unit}, 50},
	} {
		if got, err := coverage("m/a", tc.profiles); err != nil || got != tc.want {
			t.Errorf("coverage of %q is %g, %v; want %g", tc.profiles, got, err, tc.want)
		}
	}
	if _, err := coverage("m/none", []string{unit}); err == nil {
		t.Error("coverage of no statement is no error")
	}
}

func TestCoverHoldsTheMinimum(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile")
	if err := os.WriteFile(profile, []byte("mode: set\nm/a/x.go:1.1,2.2 1 1\nm/a/x.go:3.1,4.2 1 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for minimum, want := range map[string]error{"50": nil, "50.1": errFailed} {
		tool, _ := newTool(t)
		if err := tool.dispatch([]string{"cover", minimum, "m/a", profile}); !errors.Is(err, want) {
			t.Errorf("at least %s%%: error is %v, want %v", minimum, err, want)
		}
	}
}
