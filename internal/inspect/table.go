package inspect

import (
	"cmp"
	"io"
	"strings"
	"unicode/utf8"
)

// table is lines of cells, with columns as wide as their widest cell. Unlike that of package
// tabwriter its cells may have colours, and it keeps its widths for lines that come later.
type table struct {
	widths []int
	rows   [][]cell
}

// cell is a text and how it is painted; nil leaves it as it is.
type cell struct {
	text  string
	paint func(string) string
}

func (t *table) add(texts ...string) {
	cells := make([]cell, len(texts))
	for i, text := range texts {
		cells[i].text = text
	}
	t.addCells(cells)
}

func (t *table) addCells(cells []cell) {
	for i := range cells {
		cells[i].text = cmp.Or(cells[i].text, "-")
		if len(t.widths) <= i {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cells[i].text))
	}
	t.rows = append(t.rows, cells)
}

// write writes the lines since the last call.
func (t *table) write(w io.Writer) error {
	var b strings.Builder
	for _, row := range t.rows {
		for i, cell := range row {
			text := cell.text
			if cell.paint != nil {
				text = cell.paint(text)
			}
			b.WriteString(text)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]+2-utf8.RuneCountInString(cell.text)))
			}
		}
		b.WriteByte('\n')
	}
	t.rows = nil
	_, err := io.WriteString(w, b.String())
	return err
}
