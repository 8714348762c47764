package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	*options
	machine   machine
	starts    []*start
	annotated []*annotated
	scenarios []*scenario
	bursts    []*burst
	memory    memories
	limited   []*limited
	large     *scale // nil if it was not measured
}

func (r *report) print(w io.Writer) {
	r.table(w, r.machineRows())
	fmt.Fprintf(w, "%d pairs, %d of bursts of %d pods; %s, load at the end %s.\n\n", r.pairs, r.options.bursts, burstSize, runtime.Version(), load())
	if rows := r.readmeRows(); rows != nil {
		printMarkdown(w, rows) // its form in any case
		fmt.Fprintf(w, "Without an agent, an ADD with 2 networks has %s, the rate of 40 ADDs at once is %s.\n\n", r.addRatio(api, burstNetworks), r.burstRate(api))
	}
	r.table(w, r.pairRows("ADD", func(t times) call { return t.add }))
	r.table(w, r.cpuRows())
	r.table(w, r.pairRows("DEL", func(t times) call { return t.del }))
	r.table(w, r.burstRows())
	r.table(w, r.memory.rows())
	r.table(w, limitRows(r.limited))
	r.table(w, r.partRows())
	r.table(w, r.agentPartRows())
	r.table(w, r.startRows())
	r.table(w, annotationRows(r.annotated))
	if r.large != nil {
		r.table(w, r.scaleRows())
		r.table(w, r.memoryRows())
	}
}

// both are the two sides of all pairs of a kind, in one figure.
type both struct{ direct, meta []time.Duration }

// compare takes a figure of every pair of a case.
func (sc *scenario) compare(figure func(times) time.Duration) (b both) {
	for _, p := range sc.pairs {
		b.direct, b.meta = append(b.direct, figure(p.direct)), append(b.meta, figure(p.meta))
	}
	return b
}

// compare takes a figure of every pair of bursts.
func (b *burst) compare(figure func(call) time.Duration) (sides both) {
	for i := range b.direct {
		sides.direct, sides.meta = append(sides.direct, figure(b.direct[i])), append(sides.meta, figure(b.meta[i]))
	}
	return sides
}

// ratios are those of the pairs: less is better.
func (b both) ratios() []float64 { return ratios(b.meta, b.direct) }

// rates are the inverse: more is better.
func (b both) rates() []float64 { return ratios(b.direct, b.meta) }

// meanRatio is that of the sums, for what the kernel counts in steps that are too long for one call.
func (b both) meanRatio() float64 { return float64(sum(b.meta)) / float64(sum(b.direct)) }

// more is what each call through the meta-plugin takes more.
func (b both) more() []time.Duration {
	all := make([]time.Duration, len(b.meta))
	for i := range b.meta {
		all[i] = b.meta[i] - b.direct[i]
	}
	return all
}

func addWall(t times) time.Duration { return t.add.wall }
func addCPU(t times) time.Duration  { return t.add.cpu.total() }
func callWall(c call) time.Duration { return c.wall }

// pairRows compares the two sides of every case in one verb.
func (r *report) pairRows(verb string, of func(times) call) [][]string {
	rows := [][]string{{verb, "networks", "libcni, ms", "meta-plugin, ms", "more, ms", "ratio", "middle half"}}
	for _, sc := range r.scenarios {
		b := sc.compare(func(t times) time.Duration { return of(t).wall })
		rows = append(rows, []string{
			sc.source, networksCell(sc.count), ms(median(b.direct)), ms(median(b.meta)), ms(median(b.more())),
			ratioCell(median(b.ratios())), middleHalf(b.ratios()),
		})
	}
	return rows
}

// cpuRows compares the processor time of an ADD: means, beside the median ratio of wall time.
func (r *report) cpuRows() [][]string {
	rows := [][]string{{
		"processor time of an ADD", "networks", "libcni, ms", "meta-plugin, ms", "of it agent or daemon, ms",
		"ratio", "middle half", "ratio of wall time",
	}}
	for _, sc := range r.scenarios {
		b := sc.compare(addCPU)
		server := sc.compare(func(t times) time.Duration { return t.add.cpu.server })
		rows = append(rows, []string{
			sc.source, networksCell(sc.count), ms(mean(b.direct)), ms(mean(b.meta)), ms(mean(server.meta)),
			ratioCell(b.meanRatio()), middleHalf(b.ratios()), ratioCell(median(sc.compare(addWall).ratios())),
		})
	}
	return rows
}

// burstRows compares the rate of many ADDs at once.
func (r *report) burstRows() [][]string {
	rows := [][]string{{
		"ADDs at once", "networks", "pods", "per core", "libcni, ms", "meta-plugin, ms", "rate", "middle half", "ratio of processor time", "failed",
	}}
	for _, b := range r.bursts {
		wall := b.compare(callWall)
		cpu := b.compare(func(c call) time.Duration { return c.cpu.total() })
		rows = append(rows, []string{
			b.source, networksCell(b.count), fmt.Sprint(b.pods), perCore(b.pods, runtime.NumCPU()), ms(median(wall.direct)), ms(median(wall.meta)),
			ratioCell(median(wall.rates())), middleHalf(wall.rates()), ratioCell(cpu.meanRatio()),
			fmt.Sprintf("%d of %d", b.failed, len(b.meta)*b.pods),
		})
	}
	return rows
}

// partRows tells where the time goes that an ADD takes longer.
func (r *report) partRows() [][]string {
	rows := [][]string{{"more in ADD, ms", "networks", "total", "start", "facts", "status", "rest", "of it disk", "after the answer"}}
	begin := median(r.start(plexusStart).times)
	for _, sc := range r.scenarios {
		if sc.once == nil {
			continue
		}
		var more, facts, publish, after []time.Duration
		for _, p := range sc.pairs {
			more, after = append(more, p.meta.add.wall-p.direct.add.wall), append(after, p.meta.add.after-p.direct.add.after)
		}
		for _, t := range sc.facts {
			facts, publish = append(facts, t.facts), append(publish, t.publish)
		}
		rest := median(more) - begin - median(facts) - median(publish)
		rows = append(rows, []string{
			sc.source, networksCell(sc.count), ms(median(more)), ms(begin), ms(median(facts)), ms(median(publish)),
			ms(rest), ms(median(r.machine.disk)), ms(max(0, median(after))),
		})
	}
	return rows
}

// agentPartRows tells where the time of an ADD goes with an agent: means of all calls.
func (r *report) agentPartRows() [][]string {
	rows := [][]string{{"part of an ADD with agent", "networks", "times", "ms each", "ms"}}
	begin := median(r.start(plexusStart).times)
	for _, sc := range r.scenarios {
		if sc.agent == nil {
			continue
		}
		calls := float64(len(sc.pairs) + warmUp)
		var whole, known time.Duration
		for _, p := range sc.pairs {
			whole += p.meta.add.wall / time.Duration(len(sc.pairs))
		}
		row := func(name string, times float64, each, total time.Duration) {
			known += total
			rows = append(rows, []string{name, networksCell(sc.count), fmt.Sprintf("%.0f", times), ms(each), ms(total)})
		}
		row("start and end of plexus", 1, begin, begin)
		for _, p := range sc.parts {
			row(p.name, p.times/calls, p.total/time.Duration(p.times), p.total/time.Duration(calls))
		}
		row("the rest", 1, whole-known, whole-known)
	}
	return rows
}

// scaleRows tells what an agent and the API server exchange in the large cluster.
func (r *report) scaleRows() [][]string {
	rows := [][]string{{"agent in a large cluster", "requests", "sent, kB", "received, kB"}}
	for _, t := range []struct {
		what string
		traffic
	}{
		{fmt.Sprintf("start: %d networks, %d of %d pods (%s s)", scaleNetworks, scalePodsOnNode, scalePods, seconds(r.large.ready)), r.large.start},
		{fmt.Sprintf("%s of doing nothing", scaleRest), r.large.idle},
		{fmt.Sprintf("%d ADDs with %d networks", scaleAdds, burstNetworks), r.large.adds},
		{fmt.Sprintf("%d DELs", scaleAdds), r.large.dels},
		{fmt.Sprintf("%d changes of state of own pods, %d of others'", scaleAdds, scaleAdds), r.large.churn},
	} {
		var requests []string
		for _, kind := range slices.Sorted(maps.Keys(t.requests)) {
			requests = append(requests, fmt.Sprintf("%d %s", t.requests[kind], kind))
		}
		rows = append(rows, []string{t.what, strings.Join(requests, ", "), kB(t.sent), kB(t.received)})
	}
	return rows
}

func (r *report) memoryRows() [][]string {
	rows := [][]string{{"agent's memory in a large cluster", "MB"}}
	for _, m := range []struct{ what, key string }{
		{"resident", "VmRSS"}, {"of it anonymous", "RssAnon"}, {"of it the executable and files", "RssFile"}, {"resident, at most", "VmHWM"},
	} {
		rows = append(rows, []string{m.what, mB(r.large.memory[m.key])})
	}
	return append(rows, []string{"heap in use", mB(r.large.heap)})
}

// start gives the starts of one kind.
func (r *report) start(what string) *start {
	return r.starts[slices.IndexFunc(r.starts, func(s *start) bool { return s.what == what })]
}

func (r *report) startRows() [][]string {
	rows := [][]string{{"start to end", "ms", "ratio", "size, MB"}}
	for _, s := range r.starts {
		rows = append(rows, []string{s.what, ms(median(s.times)), ratioCell(median(ratios(s.times, r.starts[0].times))), fmt.Sprintf("%.2f", float64(s.size())/1e6)})
	}
	return rows
}
