package types

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Reasons for which a node does not use Plexus, as the label of plexus_node_in_use.
const (
	UseConfiguration  = "configuration"   // the first file of the runtime is ours, as it was made
	UseExecutables    = "executables"     // those of the image
	UseDefaultNetwork = "default_network" // the one that our file was made around is there and ready
	UseFallback       = "fallback"        // the kubeconfig of plexus-once is there
	UseJournal        = "journal"         // the agent reads the journal that plexus writes
	UseNodeName       = "node_name"       // the agent was given the name of its node
	UseFollower       = "follow"          // install --follow keeps all this up to date
)

// NodeUse is what install --follow found out about its node. It writes it into the file
// that the agent reads.
type NodeUse struct {
	Checked time.Time `json:"checked"`
	Version string    `json:"version"` // of the follower
	File    string    `json:"file"`    // our configuration, by its path on the host
	// Network is the default network's file that ours is made around; empty before there is one.
	Network string `json:"network,omitempty"`
	// Faults are why the node does not use Plexus, by reason; empty for a reason that is none.
	Faults map[string]string `json:"faults"`
}

// MaxNodeUse bounds the file of a NodeUse, in bytes.
const MaxNodeUse = 64 << 10

// maxFault bounds one fault of a NodeUse, in bytes, so that all of them fit.
const maxFault = 2 << 10

// NodeUseFile is where install --follow writes a NodeUse for the agent that answers on a
// socket.
func NodeUseFile(socket string) string { return socket + ".node" }

// FormatNodeUse gives the content of the file.
func FormatNodeUse(use *NodeUse) ([]byte, error) {
	short := *use
	short.Faults = make(map[string]string, len(use.Faults))
	for reason, fault := range use.Faults {
		short.Faults[reason] = Shorten(fault, maxFault)
	}
	return json.Marshal(&short)
}

// ParseNodeUse reads the content of the file.
func ParseNodeUse(data []byte) (*NodeUse, error) {
	var use NodeUse
	if err := json.Unmarshal(data, &use); err != nil {
		return nil, fmt.Errorf("what install --follow found out is not valid: %w", err)
	}
	if use.Checked.IsZero() || len(use.Faults) == 0 {
		return nil, fmt.Errorf("what install --follow found out lacks %q or %q", "checked", "faults")
	}
	return &use, nil
}

// SortReasons gives faults by reason in the order of the reasons' names.
func SortReasons(faults map[string]string) []UseReason {
	reasons := make([]UseReason, 0, len(faults))
	for _, reason := range slices.Sorted(maps.Keys(faults)) {
		reasons = append(reasons, UseReason{Reason: reason, Fault: faults[reason]})
	}
	return reasons
}

// NodeState is what an agent knows about its node.
type NodeState struct {
	Node    string    `json:"node"`
	Version string    `json:"version"` // of the agent
	Since   time.Time `json:"since"`   // it answers on the socket
	// NotReady is why the agent cannot do its work; empty if it can.
	NotReady string `json:"notReady,omitempty"`
	// Follower is what install --follow wrote last; nil if it wrote nothing.
	Follower *NodeUse `json:"follower,omitempty"`
	// Use has every reason that is known, in the order of their names.
	Use      []UseReason  `json:"use"`
	Pods     int          `json:"pods"`     // of this node that the agent knows
	Networks int          `json:"networks"` // of the cluster that the agent knows
	Journal  JournalState `json:"journal"`
	// Without is how many pods run without the networks that they select.
	Without int `json:"without,omitempty"`
	// Waiting is how many pods' statuses are to be compared or written.
	Waiting int `json:"waiting"`
	// Failures are the last calls that failed, the newest last.
	Failures []FailedCall `json:"failures,omitempty"`
}

// UseReason is one reason for which a node may not use Plexus.
type UseReason struct {
	Reason string `json:"reason"`
	Fault  string `json:"fault,omitempty"` // why it does not; empty if it does
}

// JournalState counts what the journal of a node holds.
type JournalState struct {
	Complete    int `json:"complete"`   // sandboxes
	Incomplete  int `json:"incomplete"` // their ADD is under way, or never ended
	Unreadable  int `json:"unreadable"`
	GivenUp     int `json:"givenUp"` // nothing could release them
	Attachments int `json:"attachments"`
}

// FailedCall is a call of the runtime that failed.
type FailedCall struct {
	Time    time.Time `json:"time"`
	Command string    `json:"command"`
	Pod     string    `json:"pod,omitempty"`
	Sandbox string    `json:"sandbox,omitempty"`
	Code    uint      `json:"code"`
	Fault   string    `json:"fault,omitempty"` // whose fault it is: one of Faults
	Error   string    `json:"error"`
}

// InUse reports whether new pods of the node get Plexus. The fallback has no part in that
// while an agent answers.
func (s *NodeState) InUse() bool {
	return !slices.ContainsFunc(s.Use, func(u UseReason) bool { return u.Fault != "" && u.Reason != UseFallback })
}
