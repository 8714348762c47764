package validate

import (
	"bytes"
	"slices"
	"sort"
	"unicode/utf8"
)

// source is the text of one file, and converts between YAML's positions and offsets.
type source struct {
	name     string
	data     []byte
	lines    []int // where each line begins, as YAML counts lines
	isObject bool  // of a cluster
	rows     []int // as editors count them: only a line feed ends one
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func newSource(f File) *source {
	s := &source{name: f.Name, isObject: f.Object, data: bytes.TrimPrefix(f.Data, byteOrderMark), lines: []int{0}, rows: []int{0}}
	for i := 0; i < len(s.data); {
		size := lineBreak(s.data[i:])
		if size > 0 {
			s.lines = append(s.lines, i+size)
		}
		if s.data[i] == '\n' || size == 2 && s.data[i] == '\r' {
			s.rows = append(s.rows, i+size)
		}
		i += max(size, 1)
	}
	return s
}

// lineBreak gives the size of the line break that data begins with, as YAML 1.1 knows them.
func lineBreak(data []byte) int {
	switch {
	case bytes.HasPrefix(data, []byte("\r\n")):
		return 2
	case data[0] == '\n' || data[0] == '\r':
		return 1
	case bytes.HasPrefix(data, []byte("\u0085")):
		return 2
	case bytes.HasPrefix(data, []byte("\u2028")), bytes.HasPrefix(data, []byte("\u2029")):
		return 3
	}
	return 0
}

// offset gives the byte at a line and column of YAML's, which count from 1, in characters.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.lines) {
		return len(s.data)
	}
	at := s.lines[line-1]
	for ; column > 1 && at < len(s.data); column-- {
		_, size := utf8.DecodeRune(s.data[at:])
		at += size
	}
	return at
}

// position gives the line and column of a byte for people, from 1, in characters.
func (s *source) position(offset int) (line, column int) {
	offset = min(max(offset, 0), len(s.data))
	row := sort.SearchInts(s.rows, offset+1) - 1
	return row + 1, utf8.RuneCount(s.data[s.rows[row]:offset]) + 1
}

// part is one document of a file, from the line of its "---" on.
type part struct {
	at   int // its first byte
	line int // lines of YAML's before it
	data []byte
}

// parts splits a file where a line begins with "---", which ends a document in any context. So
// one broken document does not hide those after it.
func (s *source) parts() []part {
	starts := []int{0}
	for i, at := range s.lines {
		if i > 0 && isSeparator(s.data[at:]) {
			starts = append(starts, i)
		}
	}
	var parts []part
	for i, first := range starts {
		end := len(s.data)
		if i+1 < len(starts) {
			end = s.lines[starts[i+1]]
		}
		at := s.lines[first]
		parts = append(parts, part{at: at, line: first, data: s.data[at:end]})
	}
	return slices.DeleteFunc(parts, part.isEmpty)
}

// isEmpty reports whether there are only comments and directives in a part.
func (p part) isEmpty() bool {
	for line := range bytes.Lines(p.data) {
		if isSeparator(line) {
			line = line[len("---"):]
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

func isSeparator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}
