package main

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// colour tells whether somebody looks at it.
var colour = func() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}()

const (
	bold  = "1"
	green = "32"
	dim   = "2"
)

func paint(code, text string) string {
	if !colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func title(text string) { fmt.Printf("\n%s\n", paint(bold, text)) }
func note(text string)  { fmt.Println(text) }
func good(text string)  { fmt.Println(paint(green, text)) }

// command prints a command line, which may have several lines.
func command(text string) {
	fmt.Println(paint(dim, "   $ "+strings.ReplaceAll(text, "\n", "\n     ")))
}

// block prints the lines of a text below a step.
func block(text string) {
	for line := range strings.Lines(text) {
		fmt.Println("   " + strings.TrimRight(line, " \n"))
	}
}

// table prints rows of aligned columns. The first row is the heading if it is in capitals.
func table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := "   "
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		line = strings.TrimRight(line, " ")
		if row[0] == strings.ToUpper(row[0]) {
			line = paint(bold, line)
		}
		fmt.Println(line)
	}
}

// list joins names for a cell of a table.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}
