package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
)

const (
	notMeasured = "–"
	noDaemon    = "no daemon"
)

// readmeRow is a row of README's table: a figure of Plexus with its agent, and of each Multus.
type readmeRow struct {
	what string
	of   func(r *report, source string) string
}

// readmeTable are the rows of README's table that are measured here.
var readmeTable = []readmeRow{
	{"time of an ADD, 2 networks (ratio)", func(r *report, source string) string { return r.addRatio(source, burstNetworks) }},
	{"time of an ADD, plain pod (ratio)", func(r *report, source string) string { return r.addRatio(source, 0) }},
	{"processor time of an ADD, 2 networks (ratio)", (*report).cpuRatio},
	{"rate of 40 ADDs at once (ratio)", (*report).burstRate},
	{"failed of 40, within the DaemonSet's limits", (*report).limitFailures},
	{"executable on the path of each pod", (*report).executableSize},
}

// readmeRows print README's table; nil unless both kinds of Multus were measured beside an agent.
func (r *report) readmeRows() [][]string {
	sources := []string{byAgent, multusThin, multusThick}
	for _, source := range sources {
		if !slices.Contains(r.sources, source) {
			return nil
		}
	}
	rows := [][]string{{"", "Plexus", "Multus thin", "Multus thick", "see it with"}}
	for _, row := range readmeTable {
		cells := []string{row.what}
		for _, source := range sources {
			cells = append(cells, row.of(r, source))
		}
		rows = append(rows, append(cells, "bench"))
	}
	return rows
}

// scenario gives that of a source and a number of networks; nil if it was not measured.
func (r *report) scenario(source string, count int) *scenario {
	i := slices.IndexFunc(r.scenarios, func(sc *scenario) bool { return sc.source == source && sc.count == count })
	if i < 0 {
		return nil
	}
	return r.scenarios[i]
}

func (r *report) addRatio(source string, count int) string {
	if sc := r.scenario(source, count); sc != nil {
		return ratioCell(median(sc.compare(addWall).ratios()))
	}
	return notMeasured
}

func (r *report) cpuRatio(source string) string {
	if sc := r.scenario(source, burstNetworks); sc != nil {
		return ratioCell(sc.compare(addCPU).meanRatio())
	}
	return notMeasured
}

func (r *report) burstRate(source string) string {
	for _, b := range r.bursts {
		if b.source == source && b.count == burstNetworks && b.pods == burstSize {
			return ratioCell(median(b.compare(callWall).rates()))
		}
	}
	return notMeasured
}

func (r *report) limitFailures(source string) string {
	for _, m := range r.limited {
		if m.what == source {
			return strconv.Itoa(m.failed)
		}
	}
	if source == multusThin {
		return noDaemon
	}
	return notMeasured
}

func (r *report) executableSize(source string) string {
	path := map[string]string{
		byAgent:     filepath.Join(r.bin, "plexus"),
		multusThin:  filepath.Join(r.multusBin, "multus"),
		multusThick: filepath.Join(r.multusBin, "multus-shim"),
	}[source]
	return fmt.Sprintf("%s MB", mB((&start{path: path}).size()))
}
