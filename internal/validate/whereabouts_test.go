package validate

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// whereabouts refuses some of what is wrong with a range, and ignores the rest: pkg/config and pkg/iphelpers of its
// sources say which.
func TestWhereaboutsIgnores(t *testing.T) {
	for ipam, want := range map[string]Severity{
		`"range": "10.0.0.0/24", "range_start": "10.0.1.1"`:                          Warning,
		`"range": "10.0.0.0/24", "range_end": "10.0.1.1"`:                            Warning,
		`"range": "10.0.0.0/24", "range_start": "x"`:                                 Warning,
		`"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.3"`: Warning,
		`"range": "10.0.0.9-10.0.0.3/24"`:                                            Warning,
		`"range": "10.0.1.9-10.0.0.20/24"`:                                           Error,
		`"range": "10.0.0.0"`:                                                        Error,
		`"range": "10.0.0.0/24", "exclude": ["x"]`:                                   Error,
	} {
		manifest := nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", `+ipam+`}}`)
		r, err := Run(t.Context(), []File{{Name: "a.yaml", Data: []byte(manifest)}}, Options{})
		check.Must(t, err)
		check.Equal(t, ipam+": findings", len(r.Findings), 1)
		check.Equal(t, ipam, r.Findings[0].Rule+" "+string(r.Findings[0].Severity), ruleRange+" "+string(want))
	}
}
