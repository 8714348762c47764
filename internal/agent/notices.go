package agent

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/types"
)

// Reasons of the events on the node.
const (
	reasonInUse       = "PlexusInUse"
	reasonNotInUse    = "PlexusNotInUse"
	reasonFallback    = "PlexusFallbackUsable"
	reasonNoFallback  = "PlexusFallbackUnusable"
	noticeRemind      = time.Hour // between two events that say the same
	noFallbackMessage = "no pod that selects networks starts while no agent answers: "
)

// notices writes events on the node when it stops using Plexus, and when it uses it again.
type notices struct {
	write func(kind, reason, message string)
	now   func() time.Time

	use, fallback notice
}

// update compares the node with what was said of it.
func (n *notices) update(state *types.NodeState) {
	var reasons, faults []string
	fallback := ""
	for _, use := range state.Use {
		switch {
		case use.Fault == "":
		case use.Reason == types.UseFallback:
			fallback = noFallbackMessage + use.Fault
		default:
			reasons = append(reasons, use.Reason)
			faults = append(faults, use.Reason+": "+use.Fault)
		}
	}
	if n.use.isNew(strings.Join(reasons, " "), n.now()) {
		n.tell(strings.Join(faults, "; "), reasonNotInUse, reasonInUse, "new pods get plexus")
	}
	if n.fallback.isNew(fallback, n.now()) {
		n.tell(fallback, reasonNoFallback, reasonFallback, "plexus-once has its kubeconfig")
	}
}

func (n *notices) tell(fault, bad, good, message string) {
	if fault != "" {
		n.write(types.EventWarning, bad, fault)
		return
	}
	n.write(types.EventNormal, good, message)
}

// notice is what was said last about one thing; an empty text is that all is well.
type notice struct {
	seen, said string
	at         time.Time
}

// isNew reports whether a fault, or that there is none, is to be said now: when it was seen
// twice in a row, since much is mended at once, and once an hour while it lasts. It is told
// by its reasons: a message that says for how long is never the same twice.
func (n *notice) isNew(fault string, now time.Time) bool {
	twice := n.seen == fault
	n.seen = fault
	if !twice || fault == n.said && (fault == "" || now.Sub(n.at) < noticeRemind) {
		return false
	}
	n.said, n.at = fault, now
	return true
}

// addToNode writes an event on the node. It has the node's name for a UID, as the kubelet's
// events have: by that kubectl describe finds them.
func (e *events) addToNode(node, kind, reason, message string) {
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: apitypes.UID(node)}
	e.recorder.Event(ref, kind, reason, types.Shorten(message, maxEventMessage))
}
