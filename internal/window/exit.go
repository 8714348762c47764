package window

import (
	"errors"
	"fmt"
	"io"

	"github.com/plexus-cni/plexus/internal/style"
)

// Exit codes of every command.
const (
	exitFine  = 0 // nothing is wrong
	exitWrong = 1 // something is
	exitUsage = 2 // of the command line
	exitBlind = 3 // could not look
)

// exitError is an error that knows the exit code that it asks for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errShown is the error of a command whose output already says what is wrong.
var errShown = &exitError{exitWrong, errors.New("the output says what is wrong")}

// wrong marks the answer "something is wrong", which goes to stderr.
func wrong(err error) error { return withExit(exitWrong, err) }

// misuse marks an error of the command line.
func misuse(err error) error { return withExit(exitUsage, err) }

func withExit(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// exitCode gives the code of an error. One that is not marked kept a command from looking.
func exitCode(err error) int {
	var marked *exitError
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &marked):
		return marked.code
	}
	return exitBlind
}

// report writes an error for whoever ran the command, unless the output has it.
func report(w io.Writer, err error) {
	if err == nil || errors.Is(err, errShown) {
		return
	}
	_, _ = fmt.Fprintf(style.Safe(w, false), "%s: %v\n", program, err) // a pod names its own interfaces
}
