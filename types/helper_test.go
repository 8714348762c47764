package types

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wantEqual asserts that two values are equal, as sameJSON has it.
func wantEqual(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameJSON); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// sameJSON takes raw JSON values that say the same for equal, and no list for an
// empty one.
var sameJSON = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.FilterValues(
		func(a, b json.RawMessage) bool { return len(a)+len(b) > 0 },
		cmp.Comparer(func(a, b json.RawMessage) bool { return canonical(a) == canonical(b) }),
	),
}

// canonical is how encoding/json writes a raw value: compact, with HTML escaped.
func canonical(raw json.RawMessage) string {
	data, err := json.Marshal(raw)
	if err != nil {
		return "not JSON: " + string(raw)
	}
	return string(data)
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal %T: %v", v, err)
	}
	return data
}
