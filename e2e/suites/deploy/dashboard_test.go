package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestKubeDeployDashboard reads the dashboard as Grafana does, and every expression in it.
func TestKubeDeployDashboard(t *testing.T) {
	data, _, err := unstructured.NestedString(find(t, kustomize(t, overlays["monitoring"].dir), "ConfigMap").Object, "data", "plexus.json")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(root, "components", "monitoring", "dashboard.json"))
	if err != nil || string(file) != data {
		t.Errorf("the ConfigMap is not the file (%v)", err)
	}
	var board struct {
		UID, Title string
		Panels     []struct {
			ID          int
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(data), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] || panel.GridPos.X+panel.GridPos.W > 24 || panel.Title == "" {
			t.Errorf("panel %d %q: an ID twice, too wide, or no title", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		if (panel.Type == "row") != (len(panel.Targets) == 0) {
			t.Errorf("panel %q has %d targets", panel.Title, len(panel.Targets))
		}
		for _, target := range panel.Targets {
			checkExpr(t, "panel "+panel.Title, target.Expr)
		}
	}
	if board.UID == "" || len(ids) < 10 {
		t.Errorf("UID %q, %d panels", board.UID, len(ids))
	}
}

// TestKubeDeployDashboardSchema reads the dashboard by Grafana's own schema, which refuses unknown
// fields and wrong types, in the panels' options and in the queries too.
func TestKubeDeployDashboardSchema(t *testing.T) {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	file, err := os.ReadFile(filepath.Join(root, "components", "monitoring", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := readBoard(file); err != nil {
		t.Error(err)
	}
	for right, wrong := range map[string]string{
		`"title": "Plexus"`: `"titel": "Plexus"`, `"showPoints": "never"`: `"showPoints": 0`,
		`"graphMode"`: `"graphMood"`, `"instant": true`: `"instant": "yes"`, `"legendFormat"`: `"legend_format"`, `"gridPos"`: `"grid"`,
	} {
		broken := strings.Replace(string(file), right, wrong, 1)
		if err := readBoard([]byte(broken)); broken == string(file) || err == nil {
			t.Errorf("the schema takes %s for %s, or the dashboard does not have it", wrong, right)
		}
	}
}

func readBoard(data []byte) error {
	board := dashboard.NewDashboard()
	err := board.UnmarshalJSONStrict(data)
	var faults cog.BuildErrors // without one it is no success but an empty list
	if errors.As(err, &faults) && len(faults) == 0 {
		return board.Validate()
	}
	return err
}

// TestKubeDeployDashboardQueries has Prometheus's own parser read every query.
func TestKubeDeployDashboardQueries(t *testing.T) {
	promtool := tool(t, promVar, "promtool")
	file, err := os.ReadFile(filepath.Join(root, "components", "monitoring", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(file, &board); err != nil {
		t.Fatal(err)
	}
	rules := &ruleFile{Groups: []ruleGroup{{Name: "queries"}}}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			rules.Groups[0].Rules = append(rules.Groups[0].Rules, alert{Alert: fmt.Sprintf("Query%d", len(rules.Groups[0].Rules)), Expr: expr})
		}
	}
	data, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := string(output(t, promtool, "check", "rules", path)); len(rules.Groups[0].Rules) < 20 || !strings.Contains(got, fmt.Sprintf("%d rules found", len(rules.Groups[0].Rules))) {
		t.Errorf("of %d queries: %s", len(rules.Groups[0].Rules), got)
	}
}

func TestKubeDeployAlerts(t *testing.T) {
	groups, _, err := unstructured.NestedSlice(find(t, kustomize(t, overlays["monitoring"].dir), "PrometheusRule").Object, "spec", "groups")
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for _, group := range groups {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			rule := rule.(map[string]any)
			annotations, _ := rule["annotations"].(map[string]any)
			labels, _ := rule["labels"].(map[string]any)
			if annotations["summary"] == nil || annotations["description"] == nil || labels["severity"] == nil {
				t.Errorf("alert %v has no summary, description or severity", rule["alert"])
			}
			checkExpr(t, "alert "+rule["alert"].(string), rule["expr"].(string))
			alerts++
		}
	}
	if alerts < 4 {
		t.Errorf("%d alerts", alerts)
	}
}

// checkExpr sees to it that an expression names only metrics that the agent has, by their labels.
func checkExpr(t *testing.T, what, expr string) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		t.Errorf("%s: %s: %v", what, expr, err)
		return
	}
	var known, by []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			known = append(known, checkMetric(t, what, e)...)
		case *metricsql.AggrFuncExpr:
			by = append(by, e.Modifier.Args...)
		}
	})
	for _, label := range by {
		if !slices.Contains(known, label) {
			t.Errorf("%s: %s: no metric in it has the label %s", what, expr, label)
		}
	}
}

// checkMetric gives the labels that a metric has.
func checkMetric(t *testing.T, what string, e *metricsql.MetricExpr) []string {
	t.Helper()
	var known []string
	for _, filters := range e.LabelFilterss {
		name := ""
		for _, filter := range filters {
			if filter.Label == "__name__" {
				name = filter.Value
			}
		}
		labels := labelsOf(name)
		if labels == nil {
			t.Errorf("%s: the agent has no metric %q", what, name)
		}
		for _, filter := range filters {
			if filter.Label != "__name__" && !slices.Contains(labels, filter.Label) {
				t.Errorf("%s: metric %s has no label %s", what, name, filter.Label)
			}
		}
		known = append(known, labels...)
	}
	return known
}

// labelsOf gives nil for a metric that is not known.
func labelsOf(name string) []string {
	if name == "up" {
		return TargetLabels
	}
	if base, ok := strings.CutSuffix(name, "_bucket"); ok && slices.Contains(Histograms, base) {
		return slices.Concat(Metrics[base], TargetLabels, []string{"le"})
	}
	labels, ok := Metrics[name]
	if !ok || slices.Contains(Histograms, name) {
		return nil
	}
	return slices.Concat(labels, TargetLabels)
}
