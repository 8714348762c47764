package windowpod

import (
	"errors"
	"slices"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What captures takes one right more, of another Role.
func TestNeeded(t *testing.T) {
	for needs, want := range map[Needs]bool{Brief: false, Full: false, Watch: true, Why: true} {
		check.Equal(t, "it takes the right to capture", slices.Contains(needs.needed(), capture), want)
		check.Equal(t, "it takes those of the Role", slices.Equal(needs.needed()[:len(role)], role), true)
	}
}

// A right that is missing is named, and the Role that gives it.
func TestLack(t *testing.T) {
	c := &Cluster{options: Options{Namespace: "there"}}
	for want, missing := range map[string][]right{
		"this needs list pods, create pods/exec in there, which the Role plexus-window gives there":                      {role[3], role[6]},
		"this needs capture pods in there, which the Role plexus-window-capture gives there":                             {capture},
		"this needs get pods, capture pods in there, which the Roles plexus-window and plexus-window-capture give there": {role[2], capture},
	} {
		err := c.lack(missing)
		check.Error(t, err, want)
		check.Equal(t, "the error is of rights", errors.Is(err, ErrRight), true)
	}
}
