package inspect

import "context"

// Node is a way to a node: the node itself, a window pod on it, or a saved Snapshot. No way
// changes anything of the node.
type Node interface {
	// Snapshot reads the node.
	Snapshot(ctx context.Context, request Request) (*Snapshot, error)
	// Answers asks the kernel's routing, and gives one answer for each question, in their order.
	Answers(ctx context.Context, questions []Question) ([]Answer, error)
	// Close lets go of the node.
	Close() error
}

// Request says how much of a node is read.
type Request struct {
	// NetNS are paths of network namespaces besides those that the node finds itself.
	NetNS []string `json:"netns,omitempty"`
	// Brief leaves out what only inspect and path need: of each namespace its interfaces and
	// addresses are read, which takes NET_ADMIN alone.
	Brief bool `json:"brief,omitempty"`
	// Only are what is read in full, with what its interfaces lead to and the node's own namespace; of
	// all others the same is read as with Brief. None are all.
	Only []Target `json:"only,omitempty"`
	// CNI adds the part for doctor: files, executables, the agent, addresses and devices.
	CNI bool `json:"cni,omitempty"`
	// WithConfig adds the configurations of the runtime's folder to it, with masked secrets.
	WithConfig bool `json:"withConfig,omitempty"`
}

// Target is a pod, a container or a network namespace: exactly one of the fields is set.
type Target struct {
	Pod       string `json:"pod,omitempty"`       // namespace/name
	Container string `json:"container,omitempty"` // its ID, or the beginning of it
	NetNS     string `json:"netns,omitempty"`     // a path
}

// Question asks the routing of a namespace where it sends a packet.
type Question struct {
	Namespace uint64 `json:"namespace"` // the inode
	To        string `json:"to"`        // an address
	From      string `json:"from,omitempty"`
	// Input is the index of the interface that the packet comes in by: of the bridge or VRF, if it
	// comes by a port of one. 0 is for a packet of the namespace's own.
	Input int `json:"input,omitempty"`
	// Output is the index of the interface that a socket is bound to, or of its VRF.
	Output int    `json:"output,omitempty"`
	Mark   uint32 `json:"mark,omitempty"`
}

// Answer is the kernel's own answer to a Question.
type Answer struct {
	Question
	// Route is what the kernel does with the packet; nil if it refuses it.
	Route *Route `json:"route,omitempty"`
	// Match is the entry of a table that Route was made from; nil if it is not known.
	Match *Route `json:"match,omitempty"`
	// Refused is the name of the kernel's error, as "ENETUNREACH"; its meaning differs between kernels.
	Refused string `json:"refused,omitempty"`
	// Unread says why the question could not be asked at all.
	Unread string `json:"unread,omitempty"`
}

// AnswerTo gives the answer that a Snapshot has to a question.
func (s *Snapshot) AnswerTo(question Question) (Answer, bool) {
	for _, answer := range s.Answers {
		if answer.Question == question {
			return answer, true
		}
	}
	return Answer{}, false
}
