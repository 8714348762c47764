package path

import (
	"encoding/json"
	"fmt"
	"regexp"
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
	text := string(data)
	for i, name := range d.randomNames() {
		prefix := strings.TrimRight(name, "0123456789abcdef")
		if len(prefix) < 3 {
			prefix = name[:min(len(name), 4)]
		}
		word := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
		text = word.ReplaceAllLiteralString(text, fmt.Sprintf("%s-%d", prefix, i+1))
	}
	macs := map[string]string{}
	text = macPattern.ReplaceAllStringFunc(text, func(mac string) string {
		if macs[mac] == "" {
			macs[mac] = fmt.Sprintf("02:00:00:00:00:%02x", len(macs)+1)
		}
		return macs[mac]
	})
	numbered := &Document{}
	if err := json.Unmarshal([]byte(text), numbered); err != nil {
		return nil, err
	}
	return numbered, nil
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
