package path

import (
	"fmt"
	"strings"
)

// HTML gives a page of its own, which has the picture for wide and for narrow windows.
func (d *Document) HTML() string {
	wide, narrow := d.Pictures(narrowWidth)
	return fmt.Sprintf(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title>
<style>:root{color-scheme:light dark}body{margin:0}.narrow{display:none}@media (max-width:%dpx){.wide{display:none}.narrow{display:block}}</style></head>
<body><div class="wide">%s</div><div class="narrow">%s</div></body></html>
`, escape(d.Title()), wideWidth-1, wide, narrow)
}

// Pictures gives two pictures that can stand on one page: for windows of 888 pixels, and of a narrower width.
func (d *Document) Pictures(width int) (wide, narrow string) {
	return d.SVG(wideWidth), strings.ReplaceAll(d.SVG(width), `"title"`, `"title-narrow"`)
}

// Mermaid gives the path as a flowchart of Mermaid, for pages that draw those.
func (d *Document) Mermaid() string {
	var out strings.Builder
	fmt.Fprintf(&out, "---\ntitle: %q\n---\nflowchart TD\n", d.Title())
	d.There.mermaid(&out, "a")
	if d.Back != nil && !d.SameWay() {
		d.Back.mermaid(&out, "b")
	}
	return out.String()
}

func (w *Way) mermaid(out *strings.Builder, prefix string) {
	node, groups := "", 0
	for i, hop := range w.Hops {
		if i == 0 || hop.Node != node {
			if i > 0 {
				fmt.Fprintln(out, "  end")
			}
			groups++
			node = hop.Node
			fmt.Fprintf(out, "  subgraph %sn%d[%s]\n", prefix, groups, quote("node "+node))
		}
		label := hop.Name + "\n" + hop.Kind
		if hop.Place == InPod {
			label += " of " + hop.In
		}
		if facts := hop.facts(); facts != "" {
			label += "\n" + facts
		}
		if sign := hop.State.sign(); sign != "" {
			label += "\n" + sign + " " + hop.stateText()
		}
		fmt.Fprintf(out, "    %s%d[%s]\n", prefix, i+1, quote(label))
	}
	if len(w.Hops) > 0 {
		fmt.Fprintln(out, "  end")
	}
	for i := 1; i < len(w.Hops); i++ {
		fmt.Fprintf(out, "  %s%d -->|%s| %s%d\n", prefix, i, quote(w.Hops[i].Step.Text), prefix, i+1)
	}
	if w.Outcome != Arrives && len(w.Hops) > 0 {
		fmt.Fprintf(out, "  %s%d -.->|%s| %send([%s])\n", prefix, len(w.Hops), quote(w.Reason), prefix, quote(string(w.Outcome)))
	}
}

// quote makes a text one of Mermaid's, in which neither quotes nor markup mean anything.
func quote(text string) string {
	return `"` + strings.NewReplacer("&", "#38;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "#", "#35;", "\n", "<br/>").Replace(text) + `"`
}
