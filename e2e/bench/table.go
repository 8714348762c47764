package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// table prints rows below a heading, as Markdown or aligned; nothing without rows.
func (r *report) table(w io.Writer, rows [][]string) {
	switch {
	case len(rows) < 2:
	case r.markdown:
		printMarkdown(w, rows)
	default:
		printAligned(w, rows)
	}
}

func printMarkdown(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintln(w, strings.ReplaceAll("| "+strings.Join(row, " | ")+" |", "|  |", "| |"))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	fmt.Fprintln(w)
}

// printAligned puts the first column to the left and the others to the right.
func printAligned(w io.Writer, rows [][]string) {
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
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(w)
}

// networksCell is the number of secondary networks; a pod without any asks for nothing.
func networksCell(count int) string {
	if count == 0 {
		return "0, plain pod"
	}
	return fmt.Sprint(count)
}

func ms(d time.Duration) string         { return fmt.Sprintf("%.1f", milliseconds(d)) }
func hundredths(d time.Duration) string { return fmt.Sprintf("%.2f", milliseconds(d)) }
func milliseconds(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
func kB(n int64) string              { return fmt.Sprintf("%.1f", float64(n)/1e3) }
func mB(n int64) string              { return fmt.Sprintf("%.1f", float64(n)/1e6) }
func ratioCell(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }
func middleHalf(values []float64) string {
	return fmt.Sprintf("%.2f to %.2f", quantile(values, 0.25), quantile(values, 0.75))
}
