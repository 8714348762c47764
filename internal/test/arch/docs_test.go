package arch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	heading   = regexp.MustCompile(`^#{1,6} `)
	codeFence = regexp.MustCompile("(?s)(?:\\A|\n) *```.*?\n *```")
)

// readDoc gives a file of the repository.
func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section gives the part of a page below a heading, up to the next one of its level or
// above, without code blocks. The title is written with its marks: "## Keys".
func section(page, title string) string {
	lines := strings.Split(codeFence.ReplaceAllString(page, ""), "\n")
	start := slices.Index(lines, title)
	if start < 0 {
		return ""
	}
	level := strings.IndexFunc(title, func(r rune) bool { return r != '#' })
	for i, line := range lines[start+1:] {
		if marks := heading.FindString(line); marks != "" && len(marks) <= level+1 {
			return strings.Join(lines[start:start+1+i], "\n")
		}
	}
	return strings.Join(lines[start:], "\n")
}

// tableWords gives the code spans in the first cells of the tables of a text.
func tableWords(text string) []string {
	var words []string
	for _, row := range tableCells(text) {
		for _, span := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			words = append(words, span[1])
		}
	}
	return words
}

// tableCells gives the rows of the tables of a text.
func tableCells(text string) [][]string {
	var rows [][]string
	for _, line := range strings.Split(text, "\n") {
		if inner, ok := strings.CutPrefix(line, "|"); ok {
			rows = append(rows, strings.Split(strings.TrimSuffix(inner, "|"), "|"))
		}
	}
	return rows
}

// differences reports what the page lacks, what it names without there being such a
// thing, and what it names twice.
func differences(documented, real []string) []string {
	var found []string
	count := map[string]int{}
	for _, name := range documented {
		count[name]++
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if !slices.Contains(real, name) {
			found = append(found, fmt.Sprintf("%s is documented, and does not exist", name))
		}
		if count[name] > 1 {
			found = append(found, fmt.Sprintf("%s is documented twice", name))
		}
	}
	for _, name := range real {
		if count[name] == 0 {
			found = append(found, fmt.Sprintf("%s is not documented", name))
		}
	}
	return found
}

// reportAll makes an error of each line, with the page that it is about.
func reportAll(t *testing.T, page string, lines []string) {
	t.Helper()
	for _, line := range lines {
		t.Errorf("%s: %s", page, line)
	}
}

// wantLines fails unless the lines are exactly those.
func wantLines(t *testing.T, want, got []string) {
	t.Helper()
	if strings.Join(want, "\n") != strings.Join(got, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
