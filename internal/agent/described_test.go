package agent

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plexus-cni/plexus/internal/install"
	"github.com/plexus-cni/plexus/k8sclient/watched"
)

// What dashboards, alerts and documents name is what the agent says, and the documents
// leave nothing out.
func TestMetricsAreThoseOfTheDocuments(t *testing.T) {
	m := newMetrics()
	m.registry.MustRegister(podsWithout{}, &gauges{
		journal: func() tally { return tally{} }, queue: func() int { return 0 },
		caches: func() map[string]watched.Size { return nil },
	})
	ours := described(m.registry)
	maps.Copy(ours, described(install.Registry()))
	if len(ours) < 10 {
		t.Fatalf("only %d metrics: %v", len(ours), ours)
	}
	documented := map[string]bool{}
	for _, pattern := range []string{"deploy/components/monitoring/*", "deploy/chart/plexus/files/*", "docs/agent.md"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		for _, file := range files {
			for _, name := range named(t, file) {
				if !ours[name] {
					t.Errorf("%s names %s, which neither the agent nor install --follow has", file, name)
				}
				documented[name] = documented[name] || strings.HasSuffix(file, ".md")
			}
		}
	}
	for name := range ours {
		if !documented[name] {
			t.Errorf("docs/agent.md does not explain %s", name)
		}
	}
}

// described gives the names of Plexus's own metrics in a registry.
func described(registry *prometheus.Registry) map[string]bool {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	names := map[string]bool{}
	for desc := range descriptions {
		if found := regexp.MustCompile(`fqName: "(plexus_\w+)"`).FindStringSubmatch(desc.String()); found != nil {
			names[found[1]] = true
		}
	}
	return names
}

// named gives the metrics that a file names, without what a histogram adds to its name.
func named(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range regexp.MustCompile(`\bplexus_[a-z_]+`).FindAllString(string(text), -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		names = append(names, name)
	}
	return names
}
