package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// ReleaseListKind is in what gc and release say.
const ReleaseListKind = "ReleaseList"

// ReleaseList is what gc and release did, or would do.
type ReleaseList struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	DryRun     bool      `json:"dryRun,omitempty"`
	Items      []Release `json:"items"`
}

// Release is one record of a sandbox, and what became of its attachments.
type Release struct {
	Pod         string            `json:"pod,omitempty"` // namespace/name
	ContainerID string            `json:"containerID"`
	Why         string            `json:"why"` // it is released
	Attachments []ReleasedNetwork `json:"attachments"`
	Error       string            `json:"error,omitempty"`
}

// ReleasedNetwork is one attachment.
type ReleasedNetwork struct {
	Network   string `json:"network"`
	Interface string `json:"interface"`
	Released  bool   `json:"released"`
}

// NewReleaseList gives an empty list.
func NewReleaseList(dryRun bool) *ReleaseList {
	return &ReleaseList{APIVersion: APIVersion, Kind: ReleaseListKind, DryRun: dryRun, Items: []Release{}}
}

// Wrong reports whether something stale is left.
func (l *ReleaseList) Wrong() bool {
	return l.DryRun && len(l.Items) > 0 || slices.ContainsFunc(l.Items, func(r Release) bool { return r.Error != "" })
}

// WriteText writes a paragraph for each record.
func (l *ReleaseList) WriteText(w io.Writer) error {
	var text strings.Builder
	if len(l.Items) == 0 {
		text.WriteString("Nothing is stale: every record of the journal is of a sandbox that may be there.\n")
	}
	for i := range l.Items {
		l.Items[i].write(&text, l.DryRun)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (r *Release) write(text *strings.Builder, dryRun bool) {
	who := "sandbox " + r.ContainerID
	if r.Pod != "" {
		who = "pod " + r.Pod + ", " + who
	}
	fmt.Fprintf(text, "%s: %s\n", who, r.Why)
	for _, a := range r.Attachments {
		state := "NOT RELEASED"
		switch {
		case a.Released:
			state = "released"
		case dryRun:
			state = "would be released"
		}
		fmt.Fprintf(text, "  %s, %s: %s\n", a.Network, a.Interface, state)
	}
	if r.Error != "" {
		fmt.Fprintf(text, "  error: %s\n", r.Error)
	}
}
