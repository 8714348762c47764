// Command testsum runs tests and counts what became of them, over several
// runs, so that no skipped test goes unnoticed.
//
//	testsum run LABEL go test -json ...   count the tests of one run
//	testsum step LABEL COMMAND ...        count a command as one test
//	testsum cover MIN TREE PROFILE ...    hold the coverage of an import path to MIN percent
//	testsum report                        sum up everything that was counted
//
// Where TESTSUM_STORE names a file, results are added to it and only report
// sums them up; without it, every run reports on itself. Where TESTSUM_LOGS is
// not empty, run also prints the output of tests that passed: what they measured.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const usage = `usage: testsum run LABEL go test -json ...
       testsum step LABEL COMMAND ...
       testsum cover MIN TREE PROFILE ...
       testsum report`

var (
	errUsage  = errors.New(usage)
	errFailed = errors.New("there were failures")
)

func main() {
	t := tool{store: store(os.Getenv("TESTSUM_STORE")), out: os.Stdout, logs: os.Getenv("TESTSUM_LOGS") != ""}
	err := t.dispatch(os.Args[1:])
	switch {
	case errors.Is(err, errFailed): // the report has said it
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
}

// tool is one invocation: where results are kept and where it writes.
type tool struct {
	store store
	out   io.Writer
	logs  bool // of tests that passed, too
}

func (t tool) dispatch(args []string) error {
	if len(args) == 1 && args[0] == "report" {
		return t.report()
	}
	if len(args) < 3 {
		return errUsage
	}
	switch args[0] {
	case "run":
		return t.run(args[1], args[2:])
	case "step":
		return t.step(args[1], args[2:])
	case "cover":
		return t.cover(args[1], args[2], args[3:])
	}
	return errUsage
}

// run counts the tests of a `go test -json`. A run that fails without a failed
// test, or in which no test ran, is a failure by itself.
func (t tool) run(label string, command []string) error {
	c := newCollector(label, t.out)
	c.logs = t.logs
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return t.keep(failure(label, err.Error()))
	}
	readErr := c.read(stdout)
	results := c.finish()
	switch err := errors.Join(readErr, cmd.Wait()); {
	case err != nil && count(results, failed) == 0:
		results = append(results, failure(label, err.Error()))
	case len(results) == 0:
		results = append(results, failure(label, "no test ran"))
	}
	return t.keep(results...)
}

// step counts a command as one test, unless the command itself has recorded
// what explains its outcome.
func (t tool) step(label string, command []string) error {
	before, err := t.store.load()
	if err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = t.out, os.Stderr
	runErr := cmd.Run()
	after, err := t.store.load()
	if err != nil {
		return err
	}
	own := after[min(len(before), len(after)):]
	switch {
	case runErr != nil && count(own, failed) == 0:
		return t.keep(failure(label, runErr.Error()))
	case runErr != nil:
		return errFailed
	case len(own) == 0:
		return t.keep(result{Run: label, Outcome: passed})
	}
	return nil
}

// keep stores results, or reports on them at once where there is no store.
func (t tool) keep(results ...result) error {
	if t.store == "" {
		return report(t.out, results)
	}
	if err := t.store.add(results); err != nil {
		return err
	}
	if count(results, failed) > 0 {
		return errFailed
	}
	return nil
}

func (t tool) report() error {
	results, err := t.store.load()
	if err != nil {
		return err
	}
	return report(t.out, results)
}
