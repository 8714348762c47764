package arch

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// maxCell is how many characters a cell has at most: a word, a value or a short phrase.
// What needs a sentence gets a paragraph under an anchor, so that an error can link to it.
const maxCell = 120

// longCells gives the cells of a page that should be paragraphs, as a reader sees them.
func longCells(page string) []string {
	var long []string
	for _, row := range tableCells(codeFence.ReplaceAllString(page, "")) {
		for _, cell := range row {
			if shown := strings.TrimSpace(linkText.ReplaceAllString(cell, "$1")); utf8.RuneCountInString(shown) > maxCell {
				long = append(long, shown)
			}
		}
	}
	return long
}

// TestTablesAreShort covers the pages in which users look things up.
func TestTablesAreShort(t *testing.T) {
	for _, name := range []string{"configuration", "agent", "sriov", "vhost-user", "troubleshooting"} {
		path := "docs/" + name + ".md"
		page := readDoc(t, path)
		if len(tableCells(page)) < 10 {
			t.Errorf("%s: only %d rows", path, len(tableCells(page)))
		}
		for _, cell := range longCells(page) {
			t.Errorf("%s: a cell has more than %d characters: %s", path, maxCell, cell)
		}
	}
}

func TestLongCells(t *testing.T) {
	phrase := strings.Repeat("ü", maxCell)
	for _, tc := range []struct {
		name, page string
		want       []string
	}{
		{"a phrase", "| " + phrase + " | x |\n", nil},
		{"a sentence", "| x | " + phrase + "y |\n", []string{phrase + "y"}},
		{"two", "| x" + phrase + " | " + phrase + "y |\n", []string{"x" + phrase, phrase + "y"}},
		{"a link", "| [" + phrase + "](#" + phrase + ") |\n", nil},
		{"prose", phrase + "y\n", nil},
		{"code", "```\n| " + phrase + "y |\n```\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) { wantLines(t, tc.want, longCells(tc.page)) })
	}
}
