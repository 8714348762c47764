package validate

import (
	"bytes"
	"encoding/json"
	"sort"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parse gives the nodes of a document. JSON is read as JSON: it has escapes that YAML's parser
// does not know. A document without content has no kind.
func (p part) parse(src *source) (*yaml.Node, error) {
	if trimmed := bytes.TrimSpace(p.data); bytes.HasPrefix(trimmed, []byte("{")) && json.Valid(trimmed) {
		text := string(p.data)
		v, _, err := parseJSON(text)
		if err == nil {
			return (&nodes{src: src, part: p}).of(v), nil
		}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(p.data, &root); err != nil {
		return nil, err
	}
	if len(root.Content) == 0 {
		return &yaml.Node{}, nil
	}
	return root.Content[0], nil
}

// nodes makes YAML's nodes of JSON.
type nodes struct {
	src  *source
	part part
}

func (m *nodes) of(v *value) *yaml.Node {
	n := m.node(v.at)
	switch {
	case v.raw == "":
	case v.raw[0] == '{':
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		for i := range v.members {
			key := m.node(v.members[i].at)
			key.Kind, key.Tag, key.Style, key.Value = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle, v.members[i].key
			n.Content = append(n.Content, key, m.of(v.members[i].value))
		}
	case v.raw[0] == '[':
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		for _, item := range v.items {
			n.Content = append(n.Content, m.of(item))
		}
	case v.raw[0] == '"':
		n.Kind, n.Tag, n.Style, n.Value = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle, v.str()
	default:
		n.Kind, n.Value = yaml.ScalarNode, v.raw
		n.Tag = map[byte]string{'t': "!!bool", 'f': "!!bool", 'n': "!!null"}[v.raw[0]]
		if n.Tag == "" {
			n.Tag = "!!float"
		}
	}
	return n
}

// node is a node at an offset of the part.
func (m *nodes) node(offset int) *yaml.Node {
	at := m.part.at + offset
	line := sort.SearchInts(m.src.lines, at+1)
	return &yaml.Node{Line: line - m.part.line, Column: utf8.RuneCount(m.src.data[m.src.lines[line-1]:at]) + 1}
}
