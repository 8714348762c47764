package check

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorder is a test whose failures are kept.
type recorder struct {
	testing.TB
	failures []string
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

// failures gives how a test fails.
func failures(test func(t testing.TB)) []string {
	r := &recorder{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		test(r)
	}()
	<-ended
	return r.failures
}

var errDenied = errors.New("access denied")

func TestChecks(t *testing.T) {
	for name, test := range map[string]struct {
		check func(t testing.TB)
		fails []string // a part of each failure
	}{
		"no error":            {check: func(t testing.TB) { Must(t, nil) }},
		"an error":            {func(t testing.TB) { Must(t, errDenied) }, []string{"access denied"}},
		"equal":               {check: func(t testing.TB) { Equal(t, "list", []int{1}, []int{1}) }},
		"not equal":           {func(t testing.TB) { Equal(t, "list", []int{1}, []int{2}) }, []string{"list (-want +got)"}},
		"all parts":           {check: func(t testing.TB) { Contains(t, "text", "abc", "a", "c") }},
		"parts are missing":   {func(t testing.TB) { Contains(t, "text", "abc", "a", "x", "y") }, []string{`text lacks "x"`, `text lacks "y"`}},
		"the error":           {check: func(t testing.TB) { Error(t, errDenied, "access", "denied") }},
		"another error":       {func(t testing.TB) { Error(t, errDenied, "granted") }, []string{`error lacks "granted"`}},
		"no error to be seen": {func(t testing.TB) { Error(t, nil, "denied") }, []string{"no error"}},
		"true at last":        {check: func(t testing.TB) { Eventually(t, "it", time.Minute, third()) }},
		"never true":          {func(t testing.TB) { Eventually(t, "it", 0, func() bool { return false }) }, []string{"waited in vain for it"}},
		"always an error":     {func(t testing.TB) { Eventually(t, "it", 0, func() error { return errDenied }) }, []string{"access denied"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := failures(test.check)
			if !slices.EqualFunc(got, test.fails, strings.Contains) {
				t.Errorf("failures %q, want %q", got, test.fails)
			}
		})
	}
}

// third is true from the third call on.
func third() func() bool {
	calls := 0
	return func() bool {
		calls++
		return calls >= 3
	}
}

func TestEnds(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	Must(t, cmd.Process.Kill())
	Ends(t, cmd.Process.Pid)
	_ = cmd.Wait()
	Ends(t, cmd.Process.Pid) // it is reaped by now
}
