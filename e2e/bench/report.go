package main

import (
	"fmt"
	"io"
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
	starts    []*start
	scenarios []*scenario
	disk      []time.Duration
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", r.machine())
	r.table(w, r.pairRows("ADD", func(t times) time.Duration { return t.add }))
	r.table(w, r.pairRows("DEL", func(t times) time.Duration { return t.del }))
	r.table(w, r.partRows())
	r.table(w, r.startRows())
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
	rows := [][]string{{verb, "networks", "libcni, ms", "plexus, ms", "more, ms", "ratio", "middle half"}}
	for _, sc := range r.scenarios {
		var direct, plexus, more []time.Duration
		var ratios []float64
		for _, p := range sc.pairs {
			d, x := of(p.direct), of(p.plexus)
			direct, plexus, more = append(direct, d), append(plexus, x), append(more, x-d)
			ratios = append(ratios, float64(x)/float64(d))
		}
		rows = append(rows, []string{
			sc.source, fmt.Sprint(sc.count), ms(median(direct)), ms(median(plexus)), ms(median(more)),
			fmt.Sprintf("%.2f", median(ratios)),
			fmt.Sprintf("%.2f to %.2f", quantile(ratios, 0.25), quantile(ratios, 0.75)),
		})
	}
	return rows
}

// partRows tells where the time goes that an ADD takes longer.
func (r *report) partRows() [][]string {
	rows := [][]string{{"more in ADD, ms", "networks", "total", "start", "facts", "status", "rest", "of it disk", "after the answer"}}
	begin := median(r.start(plexusStart).times)
	for _, sc := range r.scenarios {
		var more, facts, publish, after []time.Duration
		for _, p := range sc.pairs {
			more, after = append(more, p.plexus.add-p.direct.add), append(after, p.plexus.after-p.direct.after)
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
