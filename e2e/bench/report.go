package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// report is everything that was measured.
type report struct {
	*options
	starts      []*start
	annotations []*annotated
	scenarios   []*scenario
	bursts      []*burst
	memory      memories
	limited     []*limited
	disk        []time.Duration
	scale       *scale // nil if it was not measured
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", r.machine())
	r.table(w, r.pairRows("ADD", func(t times) time.Duration { return t.add }))
	r.table(w, r.pairRows("DEL", func(t times) time.Duration { return t.del }))
	r.table(w, r.burstRows())
	r.table(w, r.memory.rows())
	r.table(w, limitRows(r.limited))
	r.table(w, r.partRows())
	r.table(w, r.agentPartRows())
	r.table(w, r.startRows())
	r.table(w, annotationRows(r.annotations))
	if r.scale != nil {
		r.table(w, r.scaleRows())
		r.table(w, r.memoryRows())
	}
}

func (r *report) machine() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	return fmt.Sprintf("%d pairs; %d cores (%s), Linux %s, %s, load at the end %s.",
		r.pairs, runtime.NumCPU(), cpuModel(), unix.ByteSliceToString(name.Release[:]), runtime.Version(), load())
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func load() string {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// pairRows compares the two sides of every case in one verb.
func (r *report) pairRows(verb string, of func(times) time.Duration) [][]string {
	rows := [][]string{{verb, "networks", "libcni, ms", "meta-plugin, ms", "more, ms", "ratio", "middle half"}}
	for _, sc := range r.scenarios {
		var direct, meta, more []time.Duration
		var ratios []float64
		for _, p := range sc.pairs {
			d, x := of(p.direct), of(p.meta)
			direct, meta, more = append(direct, d), append(meta, x), append(more, x-d)
			ratios = append(ratios, float64(x)/float64(d))
		}
		rows = append(rows, []string{
			sc.source, fmt.Sprint(sc.count), ms(median(direct)), ms(median(meta)), ms(median(more)),
			fmt.Sprintf("%.2f", median(ratios)),
			fmt.Sprintf("%.2f to %.2f", quantile(ratios, 0.25), quantile(ratios, 0.75)),
		})
	}
	return rows
}

// burstRows compares the rate of many ADDs at once: more is better.
func (r *report) burstRows() [][]string {
	rows := [][]string{{fmt.Sprintf("%d ADDs at once", burstSize), "networks", "libcni, s", "meta-plugin, s", "rate", "middle half", "failed"}}
	for _, b := range r.bursts {
		if len(b.direct) == 0 {
			continue
		}
		var rates []float64
		for i := range b.direct {
			rates = append(rates, float64(b.direct[i])/float64(b.meta[i]))
		}
		rows = append(rows, []string{
			b.source, fmt.Sprint(b.count), seconds(median(b.direct)), seconds(median(b.meta)),
			fmt.Sprintf("%.2f", median(rates)),
			fmt.Sprintf("%.2f to %.2f", quantile(rates, 0.25), quantile(rates, 0.75)),
			fmt.Sprintf("%d of %d", b.failed, len(b.meta)*burstSize),
		})
	}
	return rows
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

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
			more, after = append(more, p.meta.add-p.direct.add), append(after, p.meta.after-p.direct.after)
		}
		for _, t := range sc.facts {
			facts, publish = append(facts, t.facts), append(publish, t.publish)
		}
		rest := median(more) - begin - median(facts) - median(publish)
		rows = append(rows, []string{
			sc.source, fmt.Sprint(sc.count), ms(median(more)), ms(begin), ms(median(facts)), ms(median(publish)),
			ms(rest), ms(median(r.disk)), ms(max(0, median(after))),
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
			whole += p.meta.add / time.Duration(len(sc.pairs))
		}
		row := func(name string, times float64, each, total time.Duration) {
			known += total
			rows = append(rows, []string{name, fmt.Sprint(sc.count), fmt.Sprintf("%.0f", times), ms(each), ms(total)})
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
		{fmt.Sprintf("start: %d networks, %d of %d pods (%s s)", scaleNetworks, scalePodsOnNode, scalePods, seconds(r.scale.ready)), r.scale.start},
		{fmt.Sprintf("%s of doing nothing", scaleRest), r.scale.idle},
		{fmt.Sprintf("%d ADDs with %d networks", scaleAdds, burstNetworks), r.scale.adds},
		{fmt.Sprintf("%d DELs", scaleAdds), r.scale.dels},
		{fmt.Sprintf("%d changes of state of own pods, %d of others'", scaleAdds, scaleAdds), r.scale.churn},
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
		rows = append(rows, []string{m.what, mB(r.scale.memory[m.key])})
	}
	return append(rows, []string{"heap in use", mB(r.scale.heap)})
}

func kB(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e3) }
func mB(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// start gives the starts of one kind.
func (r *report) start(what string) *start {
	return r.starts[slices.IndexFunc(r.starts, func(s *start) bool { return s.what == what })]
}

func (r *report) startRows() [][]string {
	rows := [][]string{{"start to end", "ms", "ratio", "size, MB"}}
	for _, s := range r.starts {
		var ratios []float64
		for i, t := range s.times {
			ratios = append(ratios, float64(t)/float64(r.starts[0].times[i]))
		}
		rows = append(rows, []string{s.what, ms(median(s.times)), fmt.Sprintf("%.2f", median(ratios)), fmt.Sprintf("%.2f", float64(s.size())/1e6)})
	}
	return rows
}

// table prints rows below a heading, as Markdown or aligned.
func (r *report) table(w io.Writer, rows [][]string) {
	if r.markdown {
		fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(rows[0], " | "), strings.Repeat("---|", len(rows[0])))
		for _, row := range rows[1:] {
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		}
		fmt.Fprintln(w)
		return
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

type number interface{ ~int64 | ~float64 }

func median[T number](values []T) T { return quantile(values, 0.5) }

// quantile gives the value below which a part of all values lies.
func quantile[T number](values []T, part float64) T {
	sorted := slices.Sorted(slices.Values(values))
	at := part * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + T((at-float64(low))*float64(sorted[high]-sorted[low]))
}
