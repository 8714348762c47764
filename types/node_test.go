package types

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestNodeUse(t *testing.T) {
	use := &NodeUse{
		Checked: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Version: "v1", File: "/etc/cni/net.d/00-plexus.conflist", Network: "10-flannel.conflist",
		Faults: map[string]string{UseConfiguration: "the runtime takes 00-aaa.conflist", UseExecutables: ""},
	}
	data, err := FormatNodeUse(use)
	check.Must(t, err)
	got, err := ParseNodeUse(data)
	check.Must(t, err)
	if diff := cmp.Diff(use, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever the faults say, the agent reads all of them.
func TestNodeUseIsBounded(t *testing.T) {
	use := &NodeUse{Checked: time.Now(), Faults: map[string]string{}}
	for _, reason := range []string{UseConfiguration, UseExecutables, UseDefaultNetwork, UseFallback} {
		use.Faults[reason] = strings.Repeat("\x01", 1<<20) // six bytes each, as JSON
	}
	data, err := FormatNodeUse(use)
	check.Must(t, err)
	if len(data) > MaxNodeUse {
		t.Errorf("%d bytes, more than the agent reads", len(data))
	}
}

func TestParseNodeUseRefused(t *testing.T) {
	for text, word := range map[string]string{
		``: "not valid", `[]`: "not valid", `{"checked":1}`: "not valid", `{}`: `lacks "checked"`,
		`{"checked":"2026-11-28T12:00:00Z"}`: `"faults"`, `{"faults":{"a":""}}`: `lacks "checked"`,
	} {
		use, err := ParseNodeUse([]byte(text))
		check.Error(t, err, word)
		if use != nil {
			t.Errorf("%s: got %v", text, use)
		}
	}
}

func TestInUse(t *testing.T) {
	for _, tc := range []struct {
		faults map[string]string
		want   bool
	}{
		{map[string]string{}, true},
		{map[string]string{UseConfiguration: "", UseJournal: ""}, true},
		{map[string]string{UseFallback: "no file"}, true},
		{map[string]string{UseFallback: "no file", UseJournal: "another folder"}, false},
		{map[string]string{UseExecutables: "changed"}, false},
	} {
		if got := (&NodeState{Use: SortReasons(tc.faults)}).InUse(); got != tc.want {
			t.Errorf("%v: %v", tc.faults, got)
		}
	}
}
