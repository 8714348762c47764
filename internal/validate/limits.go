package validate

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of one file. No manifest comes near them, and what goes beyond is refused before it costs time.
const (
	maxDocuments = 20_000
	maxExpanded  = 100_000 // nodes of a document whose aliases are followed, if they are most of it
	maxGrowth    = 10
)

// refusedEncoding says why a file cannot be read as UTF-8.
func refusedEncoding(data []byte) string {
	head := data[:min(len(data), 4)]
	if bytes.HasPrefix(head, []byte{0xfe, 0xff}) || bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.IndexByte(head, 0) >= 0 {
		return "the file is UTF-16 or UTF-32, or no text: save it as UTF-8"
	}
	return ""
}

// expansion counts the nodes of a document whose aliases are followed.
type expansion struct {
	sizes   map[*yaml.Node]int // math.MaxInt while the node is being counted
	written int
}

// checkAliases refuses an anchor that contains itself, and aliases that make a small document large.
func checkAliases(root *yaml.Node) (*yaml.Node, string) {
	e := &expansion{sizes: map[*yaml.Node]int{}}
	size, loop := e.size(root)
	switch {
	case loop != nil:
		return loop, fmt.Sprintf("anchor %s contains itself", quote(loop.Value))
	case size > maxExpanded && size/maxGrowth > e.written:
		return root, "the aliases of the document make it more than ten times as large"
	}
	return nil, ""
}

// size gives the number of nodes, or the alias that leads back to what it is in.
func (e *expansion) size(n *yaml.Node) (total int, loop *yaml.Node) {
	if size, known := e.sizes[n]; known {
		return size, nil
	}
	e.written++
	e.sizes[n] = math.MaxInt
	parts := n.Content
	if n.Kind == yaml.AliasNode {
		if e.sizes[n.Alias] == math.MaxInt {
			return 0, n
		}
		parts = []*yaml.Node{n.Alias}
	}
	total = 1
	for _, part := range parts {
		size, loop := e.size(part)
		if loop != nil {
			return 0, loop
		}
		total = min(total+size, math.MaxInt/4)
	}
	e.sizes[n] = total
	return total, nil
}

// yamlKeysTwice finds keys that a mapping of the document has twice.
func (r *run) yamlKeysTwice(o *object, n *yaml.Node) {
	seen := map[string]bool{}
	for i, part := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && part.Kind == yaml.ScalarNode && part.Tag != "!!merge" {
			if seen[part.Value] {
				r.add(ruleKeyTwice, o, o.doc.offset(part), "", "key "+quote(part.Value)+" is there twice: only this one counts")
			}
			seen[part.Value] = true
		}
		r.yamlKeysTwice(o, part)
	}
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)

// faultOffset finds what YAML's parser refuses without a line: an alias of nothing, or a character.
func (p part) faultOffset(message string) int {
	if found := unknownAnchor.FindStringSubmatch(message); found != nil {
		return p.at + max(bytes.Index(p.data, []byte("*"+found[1])), 0)
	}
	for i := 0; i < len(p.data); {
		r, size := utf8.DecodeRune(p.data[i:])
		if r == utf8.RuneError && size == 1 || !isYAML(r) {
			return p.at + i
		}
		i += size
	}
	return p.at
}

// isYAML reports whether YAML lets a character stand in a document.
func isYAML(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r >= 0x7f && r < 0xa0:
		return r == 0x85
	}
	return r != 0xfffe && r != 0xffff && r != 0xfeff
}
