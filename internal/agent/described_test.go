package agent

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plexus-cni/plexus/internal/install"
	"github.com/plexus-cni/plexus/k8sclient/watched"
)

// What dashboards, alerts and documents name is what the agent says, and the documents
// leave nothing out.
func TestMetricsAreThoseOfTheDocuments(t *testing.T) {
	ours := describedMetrics(t)
	documented := map[string]bool{}
	for _, pattern := range []string{"deploy/components/monitoring/*", "deploy/chart/plexus/files/*", "docs/agent.md"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		for _, file := range files {
			for _, name := range named(t, file) {
				if _, known := ours[name]; !known {
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

// The tests of the dashboard and of the alerts have a list of the metrics with their labels. It is
// what the agent and install --follow say.
func TestLabelsAreThoseOfTheTests(t *testing.T) {
	text, err := os.ReadFile("../../e2e/suites/deploy/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	ours := describedMetrics(t)
	listed := regexp.MustCompile(`(?m)^\t"(plexus_\w+)": +\{(.*)\},$`).FindAllStringSubmatch(string(text), -1)
	if len(listed) < 20 {
		t.Fatalf("only %d metrics are listed", len(listed))
	}
	for _, metric := range listed {
		labels := strings.Split(strings.NewReplacer(`"`, "", " ", "").Replace(metric[2]), ",")
		slices.Sort(labels)
		if got, want := strings.Join(labels, ","), ours[metric[1]]; got != want {
			t.Errorf("%s is listed with the labels %q, and has %q", metric[1], got, want)
		}
	}
}

// describedMetrics gives Plexus's own metrics, each with its labels.
func describedMetrics(t *testing.T) map[string]string {
	t.Helper()
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
	return ours
}

var (
	description   = regexp.MustCompile(`fqName: "(plexus_\w+)".*constLabels: \{([^{}]*)\}, variableLabels: \{([^{}]*)\}`)
	constantLabel = regexp.MustCompile(`(\w+)="`)
)

// described gives Plexus's own metrics in a registry, each with its labels in order.
func described(registry *prometheus.Registry) map[string]string {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	metrics := map[string]string{}
	for desc := range descriptions {
		found := description.FindStringSubmatch(desc.String())
		if found == nil {
			continue
		}
		labels := strings.FieldsFunc(found[3], func(r rune) bool { return r == ',' })
		for _, constant := range constantLabel.FindAllStringSubmatch(found[2], -1) {
			labels = append(labels, constant[1])
		}
		slices.Sort(labels)
		metrics[found[1]] = strings.Join(labels, ",")
	}
	return metrics
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
