package types

import "slices"

// Whose fault a failed ADD is, as its report says it: who can mend what it failed of.
const (
	// FaultUser is of whoever wrote the pod's annotation or the network: it is wrong, is not
	// there, or is refused. So it is of who deletes a pod while it starts.
	FaultUser = "user"
	// FaultNetwork is of a network that the pod selects: this node lacks a plugin of it, or a
	// plugin refused it. Its author may have mistyped it, or the node may lack what it names.
	FaultNetwork = "network"
	// FaultNode is of the node: it is everything else.
	FaultNode = "node"
)

// Faults are all of them, the worst one last.
var Faults = []string{FaultUser, FaultNetwork, FaultNode}

// FaultError is an error that knows whose fault it is.
type FaultError struct {
	Fault string
	Err   error
}

// Error gives the message of the error inside.
func (e *FaultError) Error() string { return e.Err.Error() }

// Unwrap gives the error inside.
func (e *FaultError) Unwrap() error { return e.Err }

// WithFault says whose fault err is. A nil error stays nil.
func WithFault(fault string, err error) error {
	if err == nil {
		return nil
	}
	return &FaultError{Fault: fault, Err: err}
}

// FaultOf gives the worst fault that is named in err's tree, "" if none is.
func FaultOf(err error) string {
	worst := -1
	visit(err, func(err error) {
		fault := ""
		switch marked := err.(type) { //nolint:errorlint // every error of the tree is visited
		case *FaultError:
			fault = marked.Fault
		case *WireError:
			fault = marked.Fault
		}
		worst = max(worst, slices.Index(Faults, fault))
	})
	if worst < 0 {
		return ""
	}
	return Faults[worst]
}

// visit calls see for err and for every error in it.
func visit(err error, see func(error)) {
	if err == nil {
		return
	}
	see(err)
	switch err := err.(type) { //nolint:errorlint // as errors.Is does it
	case interface{ Unwrap() error }:
		visit(err.Unwrap(), see)
	case interface{ Unwrap() []error }:
		for _, inner := range err.Unwrap() {
			visit(inner, see)
		}
	}
}

// Codes of the CNI specification that a configuration has which is wrong, whoever made them.
const (
	codeIncompatibleVersion uint = 1
	codeUnsupportedField    uint = 2
	codeDecodingFailure     uint = 6
)

// FaultOfCode gives whose fault a failed ADD is as far as its code says it.
func FaultOfCode(code uint) string {
	switch code {
	case codeIncompatibleVersion, codeUnsupportedField, codeDecodingFailure, CodeInvalidConfig:
		return FaultUser
	}
	return FaultNode
}
