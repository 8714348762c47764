package types

import (
	"errors"
	"fmt"
	"strings"
)

// Codes of the CNI specification 1.1.0, section "Error", as far as Plexus makes them.
const (
	CodeUnknownContainer    uint = 3
	CodeInvalidEnv          uint = 4
	CodeIOFailure           uint = 5
	CodeInvalidConfig       uint = 7
	CodeTryAgainLater       uint = 11
	CodeNotAvailable        uint = 50
	CodeLimitedConnectivity uint = 51  // and the containers that run are cut off too
	CodeFailed              uint = 100 // ours: what has no code of its own
)

// ErrSignal is the cause of the end of a context that a signal ended: the process was asked
// to stop.
var ErrSignal = errors.New("the call was ended by a signal")

// CodedError is an error that knows the code a CNI runtime should get for it.
type CodedError struct {
	Code uint
	Err  error
}

// Error gives the message of the error inside; the code goes its own way.
func (e *CodedError) Error() string { return e.Err.Error() }

// Unwrap gives the error inside.
func (e *CodedError) Unwrap() error { return e.Err }

// WithCode gives err the code that the runtime will see. A nil error stays nil.
func WithCode(code uint, err error) error {
	if err == nil {
		return nil
	}
	return &CodedError{Code: code, Err: err}
}

// Errorf is fmt.Errorf with the code that the runtime will see.
func Errorf(code uint, format string, args ...any) error {
	return WithCode(code, fmt.Errorf(format, args...))
}

// CodeOf gives the outermost code in err's chain, or otherwise if there is none.
func CodeOf(err error, otherwise uint) uint {
	var coded *CodedError
	if errors.As(err, &coded) {
		return coded.Code
	}
	var wire *WireError
	if errors.As(err, &wire) && wire.Code != 0 {
		return wire.Code
	}
	return otherwise
}

// FieldError names the field of an input that is wrong, and how it is wrong.
type FieldError struct {
	Field   string // path of the field, as `delegates[1].type`
	Problem string
}

// Error gives "field: problem", and of the input as a whole just the problem.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// AnnotationError says which annotation of a pod is wrong.
type AnnotationError struct {
	Annotation string
	Err        error
}

// Error gives "annotation name: problem".
func (e *AnnotationError) Error() string { return "annotation " + e.Annotation + ": " + e.Err.Error() }

// Unwrap gives the error inside.
func (e *AnnotationError) Unwrap() error { return e.Err }

// ElementError says which element of an annotation is wrong.
type ElementError struct {
	Index   int    // the first element is 0
	Network string // "" if the element names none that can be read
	Err     error
}

// Error counts the elements from 1, as people do.
func (e *ElementError) Error() string {
	if e.Network == "" {
		return fmt.Sprintf("element %d: %s", e.Index+1, e.Err)
	}
	return fmt.Sprintf("element %d (%s): %s", e.Index+1, e.Network, e.Err)
}

// Unwrap gives the error inside.
func (e *ElementError) Unwrap() error { return e.Err }

// faults is several errors that are all reported, in one line.
type faults []error

// Join makes one error of all that are not nil, like errors.Join but in one line,
// as the messages of runtimes and events want it. No errors give nil.
func Join(errs ...error) error {
	var all faults
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// maxFaults is how many faults a message lists.
const maxFaults = 10

// Error gives the first messages, with semicolons between them.
func (f faults) Error() string {
	var messages []string
	for _, err := range f[:min(len(f), maxFaults)] {
		messages = append(messages, err.Error())
	}
	if more := len(f) - maxFaults; more > 0 {
		messages = append(messages, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(messages, "; ")
}

// Unwrap gives the errors, for errors.Is and errors.As.
func (f faults) Unwrap() []error { return f }

// Shorten cuts a message to at most limit bytes and shows that it did.
func Shorten(message string, limit int) string {
	const cut = "…"
	if len(message) <= limit {
		return message
	}
	return strings.ToValidUTF8(message[:limit-len(cut)], "") + cut
}
