package validate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What would take long, or cannot be read, is one finding, and the other files are examined all the same.
func TestLimits(t *testing.T) {
	bomb := "k0: &a0 [x, x]\n"
	for i := range 40 {
		bomb += fmt.Sprintf("k%[2]d: &a%[2]d [*a%[1]d, *a%[1]d, *a%[1]d]\n", i, i+1)
	}
	for name, tc := range map[string]struct{ data, want string }{
		"aliases of aliases":       {bomb, "ten times as large"},
		"many documents":           {strings.Repeat("a: b\n---\n", 200_000), "more than 20000 documents"},
		"UTF-16 with its mark":     {"\xff\xfek\x00i\x00n\x00d\x00", "save it as UTF-8"},
		"UTF-16, the other way":    {"\xfe\xff\x00k\x00i\x00n\x00d", "save it as UTF-8"},
		"UTF-16 without mark":      {"\x00k\x00i\x00n\x00d", "save it as UTF-8"},
		"an anchor in a sequence":  {"a: &x [1, [*x]]\n", "contains itself"},
		"aliases of large objects": {"a: &x [" + strings.Repeat("1,", 2000) + "1]\nb: [" + strings.Repeat("*x,", 20_000) + "1]\n", "ten times as large"},
	} {
		t.Run(name, func(t *testing.T) {
			good, _ := marked("good.yaml", nad("a", bridge("")))
			r, err := Run(t.Context(), []File{{Name: "bad.yaml", Data: []byte(tc.data)}, good}, Options{})
			check.Must(t, err)
			check.Equal(t, "networks", r.Networks, 1)
			check.Equal(t, "findings", len(r.Findings), 1)
			check.Equal(t, "rule", r.Findings[0].Rule, ruleYAML)
			check.Contains(t, "message", r.Findings[0].Message, tc.want)
		})
	}
}
