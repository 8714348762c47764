package path

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Probe is what became of packets that were sent along a path.
type Probe struct {
	Protocol string `json:"protocol"` // "icmp", "udp", "tcp"
	Shots    []Shot `json:"shots"`
	// Notes are what the watchers could not do, as packets that passed and that nobody had room for.
	Notes []string `json:"notes,omitempty"`
}

// ShotOutcome is what became of one packet.
type ShotOutcome string

// The outcomes of a packet.
const (
	Answered    ShotOutcome = "answered"           // the sender has the answer
	Unanswered  ShotOutcome = "unanswered"         // it came as far as anybody sees, and no answer was seen
	AnswerGone  ShotOutcome = "answer lost"        // there was an answer, which did not come back
	PacketGone  ShotOutcome = "packet lost"        // it did not come to the next hop
	Elsewhere   ShotOutcome = "answered elsewhere" // it did not come to the far end, and something on the way answered
	Rejected    ShotOutcome = "rejected"           // somebody told the sender that it does not go on
	NotAccepted ShotOutcome = "not sent"           // the sender's own kernel did not take it
)

// Shot is one packet.
type Shot struct {
	Size    int         `json:"size"` // of the IP packet, in bytes
	Outcome ShotOutcome `json:"outcome"`
	// Reason says what became of it, and Do what to do about it; "" if it was answered.
	Reason string `json:"reason,omitempty"`
	Do     string `json:"do,omitempty"`
	// Took is how long the answer took, in microseconds, by the sender's clock.
	Took int64 `json:"tookMicroseconds,omitempty"`
	// Gap is where it, or its answer, was lost; nil if it was not.
	Gap *Gap `json:"gap,omitempty"`
	// Drops are the reasons of kernels, of those that may be of this packet or its answer; empty if none
	// was seen, or if they were not watched.
	Drops []Dropped `json:"drops,omitempty"`
}

// Gap is between two hops of a way: a packet was seen at the one and not at the other.
type Gap struct {
	Back bool `json:"back,omitempty"` // it is on the way back
	// SeenAt and MissedAt are numbers of hops of the way, from 0; -1 is for none.
	SeenAt   int `json:"seenAt"`
	MissedAt int `json:"missedAt"`
}

// Dropped is a kernel's own word on a packet that it dropped.
type Dropped struct {
	Node      string `json:"node"`
	In        string `json:"in,omitempty"`        // the namespace
	Interface string `json:"interface,omitempty"` // that the packet had then
	Reason    string `json:"reason"`              // the kernel's name for it: "NETFILTER_DROP"
	Where     string `json:"where,omitempty"`     // the kernel's function
	Text      string `json:"text,omitempty"`      // what that means
	Do        string `json:"do,omitempty"`
}

// Probed is what became of a packet at a hop.
type Probed struct {
	Size  int   `json:"size"`
	State State `json:"state"`
	// Changes are in what the packet differs from itself at the hop before: "TTL 64 → 63".
	Changes []string `json:"changes,omitempty"`
	// After is how long after the first hop of the same node it was seen, in microseconds.
	After int64 `json:"afterMicroseconds,omitempty"`
}

// wrong reports whether a packet did not do what it was sent for. Nobody has to answer one of UDP.
func (p *Probe) wrong() bool {
	return slices.ContainsFunc(p.Shots, func(s Shot) bool {
		return s.Outcome != Answered && (s.Outcome != Unanswered || p.Protocol != "udp")
	})
}

// Lines say what became of each packet.
func (p *Probe) Lines() (lines []string) {
	for _, shot := range p.Shots {
		line := fmt.Sprintf("%s, %d bytes: %s", p.Protocol, shot.Size, shot.Outcome)
		if shot.Took != 0 {
			line += " after " + (time.Duration(shot.Took) * time.Microsecond).String()
		}
		if shot.Reason != "" {
			line += ": " + shot.Reason
		}
		lines = append(lines, line)
	}
	return lines
}

// SetProbed gives a hop the states of each packet, and the whole of them.
func (h *Hop) SetProbed(probed []Probed) {
	h.Probed = probed
	has := func(state State) bool {
		return slices.ContainsFunc(probed, func(p Probed) bool { return p.State == state })
	}
	switch {
	case has(NotSeen):
		h.State = NotSeen
	case h.State == IsLost || h.State == IsUnknown: // it came here, and what comes next is as it was
	case has(Changed):
		h.State = Changed
	default:
		h.State = Seen
	}
}

// stateText says what is known of a packet here, and in what a probe's packets changed.
func (h *Hop) stateText() string {
	text := string(h.State)
	if len(h.Probed) == 0 {
		return text
	}
	var changes, missing []string
	for _, p := range h.Probed {
		if p.State == NotSeen {
			missing = append(missing, fmt.Sprint(p.Size))
		}
		for _, change := range p.Changes {
			if !slices.Contains(changes, change) {
				changes = append(changes, change)
			}
		}
	}
	switch some := len(missing) > 0 && len(missing) < len(h.Probed); {
	case some && len(changes) > 0:
		return "not seen: the packet of " + strings.Join(missing, " and ") + " bytes; the others: " + strings.Join(changes, ", ")
	case some:
		return "not seen: the packet of " + strings.Join(missing, " and ") + " bytes"
	case h.State == IsLost:
		text += ", after it was seen here"
	}
	if len(changes) > 0 {
		text += ": " + strings.Join(changes, ", ")
	}
	return text
}

// probedLine is stateText for a picture, "" where there is nothing to say but the sign.
func (h *Hop) probedLine() string {
	if text := h.stateText(); len(h.Probed) > 0 && text != string(Seen) && text != string(h.State) {
		return strings.TrimPrefix(text, string(Changed)+": ")
	}
	return ""
}

// isProbedWrong reports a way on which an answer was lost.
func (w *Way) isProbedWrong() bool {
	return slices.ContainsFunc(w.Hops, func(h Hop) bool { return len(h.Probed) > 0 && h.State == NotSeen })
}

// write writes what became of each packet.
func (p *Probe) write(text *strings.Builder) {
	if p == nil {
		return
	}
	for i, line := range p.Lines() {
		fmt.Fprintf(text, "probe: %s\n", line)
		if do := p.Shots[i].Do; do != "" && (i == 0 || do != p.Shots[i-1].Do) {
			fmt.Fprintf(text, "  %s\n", do)
		}
	}
	for _, note := range p.Notes {
		fmt.Fprintf(text, "probe: %s\n", note)
	}
}
