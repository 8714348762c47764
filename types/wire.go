package types

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// WireVersion is the version of the messages between the plugin and a source of
// facts. A source answers another version with an error that names both.
const WireVersion = 1

// ErrWireVersion is the error for a message of another version of the protocol.
var ErrWireVersion = errors.New("the other side speaks another version of the protocol")

// MaxMessage bounds one message, in bytes: a pod's annotations (256 KiB) and dozens
// of networks as large as the API server stores them.
const MaxMessage = 16 << 20

// Request is one line of JSON to a source, from the plugin or from plexus-agent status: exactly
// one of its parts.
type Request struct {
	Version int             `json:"version"`
	Facts   *FactsRequest   `json:"facts,omitempty"`
	Publish *PublishRequest `json:"publish,omitempty"`
	// Node asks an agent what it knows about its node.
	Node bool `json:"node,omitempty"`
}

// FactsRequest asks for the facts of one pod.
type FactsRequest struct {
	Pod Pod `json:"pod"` // Annotations as the runtime handed them over
	// HasAnnotations is true if the runtime handed the annotations over, so that the
	// pod need not be read.
	HasAnnotations bool `json:"hasAnnotations,omitempty"`
	// Networks are those that the node's configuration names.
	Networks []Ref `json:"networks,omitempty"`
	// MultusNamespace is where the default-network annotation looks first.
	MultusNamespace string `json:"multusNamespace"`
	// Timeout is how long the asker waits.
	Timeout Duration `json:"timeout,omitempty"`
}

// PublishRequest ends a call: a status and events to be written to the API server, and
// how the call went.
type PublishRequest struct {
	Pod Pod `json:"pod"`
	// Status is the whole status of the pod; nil for none to be written. An agent gets
	// none: it reads the journal.
	Status []NetworkStatus `json:"status,omitempty"`
	Events []PodEvent      `json:"events,omitempty"`
	// Report is for an agent; plexus-once reads the container's ID in it.
	Report *CallReport `json:"report,omitempty"`
	// Timeout is how long the asker waits for the status to be written. Events are
	// delivered after the answer. An agent gets the request, and is not waited for.
	Timeout Duration `json:"timeout,omitempty"`
}

// MaxReportError bounds the message of an error in a report, in bytes.
const MaxReportError = 1 << 10

// CallReport describes a finished call of the runtime.
type CallReport struct {
	Command     string    `json:"command"` // CNI_COMMAND
	ContainerID string    `json:"containerID,omitempty"`
	Started     time.Time `json:"started"`
	Took        Duration  `json:"took"`
	Code        uint      `json:"code,omitempty"` // of the CNI error that it ended with, 0 for success
	// Fault is one of [Faults], "" for success.
	Fault string `json:"fault,omitempty"`
	// Error is the message of that error, cut to MaxReportError bytes.
	Error  string  `json:"error,omitempty"`
	Phases []Phase `json:"phases,omitempty"`
	// TraceParent is what the runtime set in the environment (W3C Trace Context).
	TraceParent string `json:"traceparent,omitempty"`
}

// Phase is a part of a call that was measured.
type Phase struct {
	Name      string   `json:"name"`
	Plugin    string   `json:"plugin,omitempty"`    // of PhaseDelegate: the executable's plain name
	Interface string   `json:"interface,omitempty"` // of PhaseDelegate
	After     Duration `json:"after"`               // the call's beginning
	Took      Duration `json:"took"`
	Code      uint     `json:"code,omitempty"` // of the error that it ended with, 0 for success
}

// Names of phases.
const (
	PhaseReady     = "ready"     // waiting for the readiness file
	PhaseFacts     = "facts"     // asking the source
	PhasePlan      = "plan"      // making the plan
	PhaseJournal   = "journal"   // taking the lock and putting the intent on disk
	PhaseDelegate  = "delegate"  // one plugin
	PhaseRoutes    = "routes"    // moving default routes
	PhaseNamespace = "namespace" // reading what is in the pod's namespace
)

// PodEvent is a Kubernetes event on the pod.
type PodEvent struct {
	Type    string `json:"type"` // Normal or Warning
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Plain is true if the pod has its default network alone: it asked for nothing,
	// and such an event is written only where that is configured.
	Plain bool `json:"plain,omitempty"`
}

// Types and reasons of the events that Plexus writes.
const (
	EventNormal           = "Normal"
	EventWarning          = "Warning"
	ReasonAddedInterface  = "AddedInterface"
	ReasonAttachFailed    = "NetworkAttachFailed"
	ReasonNoSuchInterface = "InterfaceNotFound"
	ReasonNetworksMissing = "NetworksMissing"
)

// Response is one line of JSON from a source to the plugin.
type Response struct {
	Version int    `json:"version"`
	Facts   *Facts `json:"facts,omitempty"`
	// Published is true if the API server has the status, or the pod is gone and needs
	// none.
	Published bool       `json:"published,omitempty"`
	Node      *NodeState `json:"node,omitempty"`
	Error     *WireError `json:"error,omitempty"`
}

// WireError is an error on its way through a socket.
type WireError struct {
	Code    uint   `json:"code"`
	Message string `json:"message"`
	// Fault is one of [Faults], "" where the code alone says whose fault it is.
	Fault string `json:"fault,omitempty"`
}

// Error gives the message; CodeOf finds the code, and FaultOf the fault.
func (e *WireError) Error() string { return e.Message }

// ParseRequest reads a request and refuses another version or an unclear one.
func ParseRequest(line []byte) (*Request, error) {
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("request is not valid: %w", err)
	}
	if r.Version != WireVersion {
		return nil, fmt.Errorf("%w: request of version %d, this side speaks %d", ErrWireVersion, r.Version, WireVersion)
	}
	parts := 0
	for _, part := range []bool{r.Facts != nil, r.Publish != nil, r.Node} {
		if part {
			parts++
		}
	}
	if parts != 1 {
		return nil, fmt.Errorf("request must have exactly one of %q, %q and %q", "facts", "publish", "node")
	}
	return &r, nil
}

// ParseResponse reads a response; one that carries an error, or has another version,
// gives that error: a *WireError, or ErrWireVersion.
func ParseResponse(line []byte) (*Response, error) {
	var r Response
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("response is not valid: %w", err)
	}
	if r.Version != WireVersion {
		return nil, fmt.Errorf("%w: response of version %d, this side speaks %d", ErrWireVersion, r.Version, WireVersion)
	}
	if r.Error != nil {
		return nil, r.Error
	}
	return &r, nil
}

// ErrorResponse makes a response of an error, with the code and the fault that it carries.
func ErrorResponse(err error) *Response {
	return &Response{Version: WireVersion, Error: &WireError{Code: CodeOf(err, CodeFailed), Message: err.Error(), Fault: FaultOf(err)}}
}

// TimeoutOr gives the timeout d, or otherwise if none is set.
func (d Duration) TimeoutOr(otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return time.Duration(d)
}
