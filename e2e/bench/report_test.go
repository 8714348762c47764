package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	for name, test := range map[string]struct {
		values              []float64
		lower, median, mean float64
	}{
		"none":  {nil, 0, 0, 0},
		"one":   {[]float64{3}, 3, 3, 3},
		"two":   {[]float64{4, 2}, 2.5, 3, 3},
		"three": {[]float64{9, 1, 2}, 1.5, 2, 4},
		"five":  {[]float64{5, 4, 3, 2, 1}, 2, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			got := []float64{quantile(test.values, 0.25), median(test.values), mean(test.values)}
			if diff := cmp.Diff([]float64{test.lower, test.median, test.mean}, got); diff != "" {
				t.Errorf("lower quartile, median, mean (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	rows := [][]string{{"", "n", "ms"}, {"a name", "0", "1.0"}, {"é", "100", ""}}
	for name, test := range map[string]struct {
		rows     [][]string
		markdown bool
		want     string
	}{
		"aligned":               {rows, false, "          n   ms\na name    0  1.0\né       100\n\n"},
		"markdown":              {rows, true, "| | n | ms |\n|---|---|---|\n| a name | 0 | 1.0 |\n| é | 100 | |\n\n"},
		"no rows":               {rows[:1], false, ""},
		"no rows, as markdown":  {rows[:1], true, ""},
		"nothing at all":        {nil, true, ""},
		"one row, one column":   {[][]string{{"h"}, {"x"}}, true, "| h |\n|---|\n| x |\n\n"},
		"one row, one, aligned": {[][]string{{"head"}, {"x"}}, false, "head\nx\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			(&report{options: &options{markdown: test.markdown}}).table(&got, test.rows)
			if diff := cmp.Diff(test.want, got.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// measured is a report in which a source's ADD takes factor times what libcni takes, and as much
// processor time again.
func measured(factors map[string]time.Duration) *report {
	r := &report{options: &options{sources: allSources}, limited: []*limited{{what: byAgent}, {what: multusThick, failed: 40}}}
	at := func(d time.Duration) call { return call{wall: d, cpu: spent{calls: d, server: d}} }
	for _, source := range slices.Sorted(slices.Values(allSources)) {
		for _, count := range []int{0, burstNetworks} {
			sc := &scenario{source: source, count: count}
			for range 3 {
				direct, meta := 10*time.Millisecond, factors[source]*10*time.Millisecond
				sc.pairs = append(sc.pairs, pair{direct: times{add: call{wall: direct, cpu: spent{calls: direct}}}, meta: times{add: at(meta)}})
			}
			r.scenarios = append(r.scenarios, sc)
			r.bursts = append(r.bursts, &burst{scenario: sc, pods: burstSize, direct: []call{at(10)}, meta: []call{at(10 * factors[source])}})
		}
	}
	return r
}

func TestReadmeRows(t *testing.T) {
	r := measured(map[string]time.Duration{manifests: 1, api: 1, apiHanded: 1, byAgent: 2, multusThin: 4, multusThick: 5})
	want := [][]string{
		{"", "Plexus", "Multus thin", "Multus thick", "see it with"},
		{"time of an ADD, 2 networks (ratio)", "2.00", "4.00", "5.00", "bench"},
		{"time of an ADD, plain pod (ratio)", "2.00", "4.00", "5.00", "bench"},
		{"processor time of an ADD, 2 networks (ratio)", "4.00", "8.00", "10.00", "bench"},
		{"rate of 40 ADDs at once (ratio)", "0.50", "0.25", "0.20", "bench"},
		{"failed of 40, within the DaemonSet's limits", "0", "no daemon", "40", "bench"},
		{"executable on the path of each pod", "0.0 MB", "0.0 MB", "0.0 MB", "bench"},
	}
	if diff := cmp.Diff(want, r.readmeRows()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	empty := &report{options: r.options}
	for _, row := range empty.readmeRows()[1:5] {
		if row[1] != notMeasured || row[3] != notMeasured {
			t.Errorf("row without measurements: %q", row)
		}
	}
	r.sources = []string{byAgent, multusThin}
	if rows := r.readmeRows(); rows != nil {
		t.Errorf("without the thick Multus: %q", rows)
	}
}

// What README gives as measured by the bench can be measured anew.
func TestReadmeTableIsREADMEs(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, row := range readmeTable {
		printed = append(printed, row.what)
	}
	found := 0
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "| bench |") {
			continue
		}
		found++
		if what := strings.TrimSpace(strings.Split(line, "|")[1]); !slices.Contains(printed, what) {
			t.Errorf("README has the row %q, which the bench does not print", what)
		}
	}
	if found == 0 {
		t.Error("README has no rows of the bench")
	}
}

func TestPlainPodsAreNamed(t *testing.T) {
	r := measured(map[string]time.Duration{})
	for name, rows := range map[string][][]string{
		"ADD": r.pairRows("ADD", func(t times) call { return t.add }), "processor time": r.cpuRows(), "bursts": r.burstRows(),
	} {
		for _, source := range []string{byAgent, multusThin, multusThick} {
			if !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == source && row[1] == "0, plain pod" }) {
				t.Errorf("%s: %s has no row for plain pods", name, source)
			}
		}
	}
}

// Sizes are a dimension of pods that ask for networks; plain pods have the largest alone.
func TestNewBursts(t *testing.T) {
	l := &lab{options: &options{bursts: 7, sizes: []int{1, 40, 16}}}
	var got []string
	for _, b := range l.newBursts(measured(nil).scenarios) {
		if b.source == byAgent || b.source == manifests {
			got = append(got, strings.Join([]string{b.source, networksCell(b.count), perCore(b.pods, 1)}, " "))
		}
	}
	if diff := cmp.Diff([]string{"agent 0, plain pod 40", "agent 2 1", "agent 2 40", "agent 2 16"}, got); diff != "" {
		t.Errorf("bursts (-want +got):\n%s", diff)
	}
}
