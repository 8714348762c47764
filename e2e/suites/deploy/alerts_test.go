package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	promVar    = "PLEXUS_PROM_BIN"
	alertTests = root + "/components/monitoring/alerts.test.yaml"
	chartRules = chart + "/files/alerts.yaml"
)

// alert is a rule of Prometheus.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// ruleFile is a file of rules as Prometheus reads it, and the spec of a PrometheusRule.
type ruleFile struct {
	Groups []ruleGroup `json:"groups"`
}

type ruleGroup struct {
	Name  string  `json:"name"`
	Rules []alert `json:"rules"`
}

// rulesOf gives the rules that a rendering applies.
func rulesOf(t testing.TB, objects []*unstructured.Unstructured) *ruleFile {
	t.Helper()
	spec, _, err := unstructured.NestedMap(find(t, objects, "PrometheusRule").Object, "spec")
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	rules := &ruleFile{}
	if err := yaml.UnmarshalStrict(data, rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// all gives the alerts of every group.
func (f *ruleFile) all() []alert {
	var alerts []alert
	for _, group := range f.Groups {
		alerts = append(alerts, group.Rules...)
	}
	return alerts
}

// runAlertTests runs promtool's tests of the groups that match, with these rules in the place
// of the chart's.
func runAlertTests(t testing.TB, rules *ruleFile, groups string) (output string, err error) {
	t.Helper()
	dir := t.TempDir()
	data, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(alertTests)
	if err != nil {
		t.Fatal(err)
	}
	const named = "../../chart/plexus/files/alerts.yaml"
	if n := strings.Count(string(tests), named); n != 1 {
		t.Fatalf("%s names the chart's rules %d times", alertTests, n)
	}
	for name, content := range map[string]string{"rules.yaml": string(data), "test.yaml": strings.Replace(string(tests), named, "rules.yaml", 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), tool(t, promVar, "promtool"), "test", "rules", "--run", groups, filepath.Join(dir, "test.yaml"))
	combined, err := cmd.CombinedOutput()
	return string(combined), err
}

// TestKubeDeployAlertTests runs promtool's tests over the rules that the chart and kustomize apply.
func TestKubeDeployAlertTests(t *testing.T) {
	o := overlays["monitoring"]
	for name, objects := range map[string][]*unstructured.Unstructured{"kustomize": kustomize(t, o.dir), "chart": helm(t, o.values)} {
		if got, err := runAlertTests(t, rulesOf(t, objects), "."); err != nil {
			t.Errorf("the rules of %s: %v\n%s", name, err, got)
		}
	}
	output(t, tool(t, promVar, "promtool"), "check", "rules", "--lint=all", "--lint-fatal", chartRules)
	output(t, tool(t, promVar, "promtool"), "test", "rules", alertTests) // as the file says, by hand
}

// TestKubeDeployAlertCases sees to it that each alert is made to fire, and not to fire.
func TestKubeDeployAlertCases(t *testing.T) {
	type expectation struct {
		Alertname string `json:"alertname"`
		ExpAlerts []any  `json:"exp_alerts"`
	}
	var file struct {
		Tests []struct {
			Name           string        `json:"name"`
			AlertRuleTest  []expectation `json:"alert_rule_test"`
			Interval       string        `json:"interval"`
			InputSeries    []any         `json:"input_series"`
			PromqlExprTest []any         `json:"promql_expr_test"`
		} `json:"tests"`
	}
	data, err := os.ReadFile(alertTests)
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, e := range test.AlertRuleTest {
			fires[e.Alertname] = fires[e.Alertname] || len(e.ExpAlerts) > 0
			silent[e.Alertname] = silent[e.Alertname] || len(e.ExpAlerts) == 0
			if !strings.HasPrefix(test.Name, e.Alertname) {
				t.Errorf("group %q tests %s: its name begins with another", test.Name, e.Alertname)
			}
		}
	}
	for _, rule := range rulesOf(t, kustomize(t, overlays["monitoring"].dir)).all() {
		if !fires[rule.Alert] || !silent[rule.Alert] {
			t.Errorf("alert %s is made to fire: %t, and not to fire: %t", rule.Alert, fires[rule.Alert], silent[rule.Alert])
		}
	}
}

// TestKubeDeployAlertMutants breaks each rule in many ways, and sees promtool's tests fail.
func TestKubeDeployAlertMutants(t *testing.T) {
	tool(t, promVar, "promtool")
	rules := rulesOf(t, kustomize(t, overlays["monitoring"].dir))
	for _, rule := range rules.all() {
		t.Run(rule.Alert, func(t *testing.T) {
			t.Parallel()
			mutants := mutantsOf(&rule)
			if len(mutants) < 3 {
				t.Fatalf("only %d mutants", len(mutants))
			}
			for what, mutant := range mutants {
				file := &ruleFile{Groups: []ruleGroup{{Name: "plexus", Rules: []alert{mutant}}}}
				if got, err := runAlertTests(t, file, "^"+rule.Alert+"($|,)"); err == nil {
					t.Errorf("%s: every test passes: %s\n%s", what, mutant.Expr, got)
				}
			}
		})
	}
}

var (
	comparison = regexp.MustCompile(` (==|>=|>) ([0-9.]+)`)
	aggregator = regexp.MustCompile(`\b(min|max)(_over_time)?\b`)
	matcher    = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	operator   = regexp.MustCompile(` (or|and|unless|\+|/) `)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// times multiplies a limit that is more than one or less: 0 and 1 are not how much but whether.
func times(limit string, factor float64) string {
	value, err := strconv.ParseFloat(limit, 64)
	if err != nil || value == 0 || value == 1 {
		return limit
	}
	return strconv.FormatFloat(value*factor, 'g', -1, 64)
}

// mutantsOf gives the rule with one thing wrong, by what is wrong.
func mutantsOf(rule *alert) map[string]alert {
	mutants := map[string]alert{}
	add := func(what string, change func(*alert)) {
		mutant := *rule
		if change(&mutant); mutant.Expr != rule.Expr || mutant.For != rule.For {
			mutants[what] = mutant
		}
	}
	replace := func(what string, where *regexp.Regexp, by func(groups []string) string) {
		for i, at := range where.FindAllStringSubmatchIndex(rule.Expr, -1) {
			groups := where.FindStringSubmatch(rule.Expr[at[0]:at[1]])
			add(fmt.Sprintf("%s %d", what, i), func(a *alert) { a.Expr = rule.Expr[:at[0]] + by(groups) + rule.Expr[at[1]:] })
		}
	}
	add("no for", func(a *alert) { a.For = "" })
	add("for ever", func(a *alert) {
		if a.For != "" {
			a.For = "2h"
		}
	})
	opposite := map[string]string{"==": "!=", ">=": "<", ">": "<=", "min": "max", "max": "min", "=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
	replace("comparison", comparison, func(g []string) string { return " " + opposite[g[1]] + " " + g[2] })
	replace("limit", comparison, func(g []string) string { return " " + g[1] + " 1000000" })
	replace("half the limit", comparison, func(g []string) string { return " " + g[1] + " " + times(g[2], 0.5) })
	replace("twice the limit", comparison, func(g []string) string { return " " + g[1] + " " + times(g[2], 2) })
	replace("aggregator", aggregator, func(g []string) string { return opposite[g[1]] + g[2] })
	replace("matcher", matcher, func(g []string) string { return g[1] + opposite[g[2]] + `"` + g[3] + `"` })
	replace("any value", matcher, func(g []string) string { return g[1] + `=~".*"` })
	replace("no label", grouping, func([]string) string { return "by ()" })
	replace("no cluster", grouping, func(g []string) string {
		return "by (" + strings.TrimPrefix(strings.TrimPrefix(g[1], "cluster"), ", ") + ")"
	})
	for i, at := range operator.FindAllStringIndex(rule.Expr, -1) {
		rest := rule.Expr[:at[0]]
		if strings.Count(rest, "(") == strings.Count(rest, ")") {
			add(fmt.Sprintf("cut off %d", i), func(a *alert) { a.Expr = rest })
		}
	}
	return mutants
}

// TestKubeDeployRunbooks sets where the handbook is.
func TestKubeDeployRunbooks(t *testing.T) {
	const base = "https://handbook.example/plexus"
	values := map[string]any{"monitoring": map[string]any{"enabled": true, "rules": map[string]any{"runbookBase": base}}}
	var names []string
	for _, rule := range rulesOf(t, helm(t, values)).all() {
		if want := base + "#" + strings.ToLower(rule.Alert); rule.Annotations["runbook_url"] != want {
			t.Errorf("alert %s: its runbook is %q, want %q", rule.Alert, rule.Annotations["runbook_url"], want)
		}
		names = append(names, rule.Alert)
	}
	slices.Sort(names)
	if len(names) < 10 || len(slices.Compact(names)) != len(names) {
		t.Errorf("alerts: %v", names)
	}
}
