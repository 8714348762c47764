package path

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var macPattern = regexp.MustCompile(`\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b`)

// Numbered gives the path with numbers in place of what differs between two runs of one thing: the names
// of the node's ends of veth pairs, and MACs. So two pictures of it are the same.
func (d *Document) Numbered() (*Document, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	if data, err = json.Marshal(renamed(tree, d.renaming())); err != nil {
		return nil, err
	}
	numbered := &Document{}
	if err := json.Unmarshal(data, numbered); err != nil {
		return nil, err
	}
	return numbered, nil
}

// renaming gives what replaces names and MACs in a text.
func (d *Document) renaming() func(string) string {
	var words []*regexp.Regexp
	var numbers []string
	for i, name := range d.randomNames() {
		prefix := strings.TrimRight(name, "0123456789abcdef")
		if len(prefix) < 3 {
			prefix = name[:min(len(name), 4)]
		}
		words = append(words, regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`))
		numbers = append(numbers, fmt.Sprintf("%s-%d", prefix, i+1))
	}
	macs := map[string]string{}
	return func(text string) string {
		for i, word := range words {
			text = word.ReplaceAllLiteralString(text, numbers[i])
		}
		return macPattern.ReplaceAllStringFunc(text, func(mac string) string {
			if macs[mac] == "" {
				macs[mac] = fmt.Sprintf("02:00:00:00:%02x:%02x", (len(macs)+1)/256%256, (len(macs)+1)%256)
			}
			return macs[mac]
		})
	}
}

// renamed replaces in every text of a tree of JSON, but for words that are no names. The keys of an object
// are taken in their order, so that the numbers are the same each time.
func renamed(tree any, replace func(string) string) any {
	switch tree := tree.(type) {
	case string:
		return replace(tree)
	case []any:
		for i := range tree {
			tree[i] = renamed(tree[i], replace)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(tree)) {
			if !slices.Contains([]string{"apiVersion", "kind", "place", "outcome", "state"}, key) {
				tree[key] = renamed(tree[key], replace)
			}
		}
	}
	return tree
}

// randomNames gives the node's ends of pairs whose other end is a pod's, in the order of the path.
func (d *Document) randomNames() (names []string) {
	seen := map[string]bool{}
	ways := []*Way{&d.There}
	if d.Back != nil {
		ways = append(ways, d.Back)
	}
	for _, way := range ways {
		for i, hop := range way.Hops {
			toPod := i+1 < len(way.Hops) && way.Hops[i+1].Step.Kind == Pair && way.Hops[i+1].Place == InPod
			fromPod := i > 0 && hop.Step.Kind == Pair && way.Hops[i-1].Place == InPod
			if hop.Place == InNode && (toPod || fromPod) && !seen[hop.Name] {
				seen[hop.Name] = true
				names = append(names, hop.Name)
			}
		}
	}
	return names
}
