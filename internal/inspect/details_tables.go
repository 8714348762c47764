package inspect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// rest writes what belongs to the namespace as a whole.
func (p *printer) rest() {
	p.list("rules", p.in(p.ns, "ip rule")+both+p.in(p.ns, "ip -6 rule"), p.rules())
	p.list("routes", p.in(p.ns, "ip route show table all")+both+p.in(p.ns, "ip -6 route show table all"), p.routes())
	p.list("netfilter", p.in(p.ns, "nft list ruleset")+both+p.in(p.ns, "iptables-legacy-save")+both+p.in(p.graph.Host(), "nft list ruleset; iptables-legacy-save"), p.netfilter())
	p.list("counters", p.in(p.ns, "nstat -asz"), p.counters())
	p.list("packet sockets of all interfaces", p.in(p.ns, "ss --packet --processes"), p.packetSockets(p.ns, 0))
}

// both is between two commands.
const both = "; "

func (p *printer) list(title, command string, lines []string) {
	if len(lines) > 0 {
		p.sections = append(p.sections, Section{Title: title, Command: strings.Trim(command, both), Lines: lines})
	}
}

func (p *printer) rules() []string {
	var lines []string
	for _, r := range p.ns.Rules {
		not := ""
		if r.Not {
			not = "not "
		}
		line := fmt.Sprintf("IPv%d %d: %sfrom %s%s%s%s", r.Family, r.Priority, not, cmp.Or(r.From, "all"), prefixed(" to ", r.To), prefixed(" iif ", r.Input), prefixed(" oif ", r.Output))
		if r.Mark != 0 {
			line += fmt.Sprintf(" mark %#x", r.Mark)
		}
		lines = append(lines, line+" table "+tableName(r.Table))
	}
	return lines
}

func tableName(table int) string {
	switch table {
	case mainTable:
		return "main"
	case localTable:
		return "local"
	case 253:
		return "default"
	}
	return strconv.Itoa(table)
}

// routes gives those of all tables but the kernel's own, table by table.
func (p *printer) routes() []string {
	sorted := slices.DeleteFunc(slices.Clone(p.ns.Routes), func(r Route) bool { return r.Table == localTable })
	slices.SortStableFunc(sorted, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Table, a.Table), cmp.Compare(a.Family, b.Family))
	})
	var lines []string
	for _, route := range sorted {
		line := "table " + tableName(route.Table) + ": " + prefixed("", route.Type)
		line = strings.TrimRight(line, " ") + " " + route.To
		for _, hop := range route.hops() {
			line += prefixed(" via ", hop.Via)
			if hop.Index != 0 {
				line += " dev " + p.nameOf(Ref{p.ns.Inode, hop.Index})
			}
		}
		lines = append(lines, line+prefixed(" src ", route.Source)+metric(route.Metric))
	}
	return lines
}

func metric(value int) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(" metric %d", value)
}

// netfilter gives the tables of this namespace and of the node: the packets pass both.
func (p *printer) netfilter() []string {
	lines := tablesOf(p.ns)
	if node := p.graph.Host(); node != nil && node != p.ns {
		lines = append(lines, tablesOf(node)...)
	}
	return lines
}

func tablesOf(ns *Namespace) []string {
	var lines []string
	add := func(kind, rest string, tables []string) {
		if len(tables) > 0 {
			lines = append(lines, fmt.Sprintf("%s of %s: %s%s", kind, ns.Title(), strings.Join(tables, ", "), rest))
		}
	}
	add("nftables", "; what their rules do is not asked", ns.Netfilter.NFT)
	add("legacy iptables", "; what their rules do is not asked", ns.Netfilter.Legacy)
	add("chains that drop all that is forwarded", "", ns.Netfilter.Closed)
	return lines
}

// counters gives those that are not 0.
func (p *printer) counters() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(p.ns.Counters)) {
		if value := p.ns.Counters[name]; value != 0 {
			lines = append(lines, fmt.Sprintf("%s %d", name, value))
		}
	}
	return lines
}
