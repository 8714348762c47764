package watched

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"sync"
)

// packed is a text that is kept compressed where that makes it smaller: of ten thousand
// networks, on every node, a pod needs two.
type packed struct {
	data     string
	deflated bool
}

// A writer takes some hundred kilobytes, which the pool gives back when the first list is
// done.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.DefaultCompression) // fails for no level that there is
	return w
}}

func pack(text string) packed {
	var buffer bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&buffer)
	_, _ = io.WriteString(w, text) // a buffer takes everything
	_ = w.Close()
	if buffer.Len() >= len(text) {
		return packed{data: strings.Clone(text)}
	}
	return packed{data: buffer.String(), deflated: true}
}

// text gives what was packed.
func (p packed) text() string {
	if !p.deflated {
		return p.data
	}
	text, err := io.ReadAll(flate.NewReader(strings.NewReader(p.data)))
	if err != nil {
		panic(err) // it never left this process
	}
	return string(text)
}
