package validate

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Findings in what Helm printed name the template of the chart, each its own.
func TestHelm(t *testing.T) {
	r := examine(t, Options{},
		"---\n# Source: app/templates/net.yaml\n"+nad("a", `{"type": ⟦config⟧1}`)+
			"---\n# Source: app/templates/pod.yaml\n# more\n"+selects("⟦annotation⟧A")+
			"---\n# Source: app/charts/sub/templates/bad.yaml\n⟦yaml⟧a: b: c\n")
	var templates []string
	for i := range r.Findings {
		templates = append(templates, r.Findings[i].Template)
	}
	check.Equal(t, "templates", templates, []string{"app/templates/net.yaml", "app/templates/pod.yaml", "app/charts/sub/templates/bad.yaml"})
	var b strings.Builder
	check.Must(t, Text(&b, r))
	check.Contains(t, "report", b.String(), "(from app/templates/net.yaml)")
}
