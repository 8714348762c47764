package arch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var runbookURL = regexp.MustCompile(`(?m)^ *runbook_url: https://github\.com/plexus-cni/plexus/blob/main/docs/troubleshooting\.md#(\S+)$`)

// alertsOf gives the alerts of a file of rules, each with the anchor of its runbook, "" for none.
func alertsOf(rules string) map[string]string {
	alerts := map[string]string{}
	for _, rule := range strings.Split(rules, "- alert: ")[1:] {
		name, rest, _ := strings.Cut(rule, "\n")
		alerts[name] = ""
		if found := runbookURL.FindStringSubmatch(rest); found != nil {
			alerts[name] = found[1]
		}
	}
	return alerts
}

// alertWords gives the alerts in the first cells of a text's tables, in order.
func alertWords(text string) []string {
	words := slices.DeleteFunc(tableWords(text), func(word string) bool { return !strings.HasPrefix(word, "Plexus") })
	slices.Sort(words)
	return words
}

// TestAlertsAreDocumented looks for a section of the handbook for each alert, to which its
// runbook leads, and for its line in the table of alerts.
func TestAlertsAreDocumented(t *testing.T) {
	troubleshooting := readDoc(t, "docs/troubleshooting.md")
	anchors := anchorsOf(troubleshooting)
	table := alertWords(section(readDoc(t, "docs/install.md"), "## Metrics, alerts, dashboard"))
	for _, path := range []string{"deploy/components/monitoring/prometheusrule.yaml", "deploy/chart/plexus/files/alerts.yaml"} {
		alerts := alertsOf(readDoc(t, path))
		if len(alerts) < 10 {
			t.Errorf("%s: only %d alerts", path, len(alerts))
		}
		var names []string
		for name, anchor := range alerts {
			names = append(names, name)
			if anchor != strings.ToLower(name) || !anchors[anchor] || len(section(troubleshooting, "### "+name)) < 60 {
				t.Errorf("%s: alert %s: its runbook is %q, and is to be its section of docs/troubleshooting.md", path, name, anchor)
			}
		}
		slices.Sort(names)
		wantLines(t, names, table)
	}
}

func TestAlertsOf(t *testing.T) {
	const url = "runbook_url: https://github.com/plexus-cni/plexus/blob/main/docs/troubleshooting.md"
	got := alertsOf("- alert: A\n  expr: x\n  " + url + "#a\n- alert: B\n  expr: y\n  - alert: C\n    " + url + "#c\n")
	for name, want := range map[string]string{"A": "a", "B": "", "C": "c"} {
		if anchor, found := got[name]; !found || anchor != want || len(got) != 3 {
			t.Errorf("alert %s: %q, %t, want %q", name, anchor, found, want)
		}
	}
}
