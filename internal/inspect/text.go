package inspect

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/plexus-cni/plexus/internal/style"
)

// WriteText writes a report for reading: findings first, then every interface.
func (r *Report) WriteText(w io.Writer) error {
	p := &printer{report: r, graph: r.graph, ns: r.Namespace, style: style.Of(w)}
	p.heading()
	p.findings()
	for i := range r.Namespace.Links {
		p.link(&r.Namespace.Links[i])
	}
	p.rest()
	_, err := io.WriteString(w, p.text.String())
	return err
}

type printer struct {
	report *Report
	graph  *Graph
	ns     *Namespace
	text   strings.Builder
	style  style.Style
	unused []string // interfaces that the kernel made
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(&p.text, format+"\n", args...) }

// fact writes a line of an interface: the label once, then each value below the other.
func (p *printer) fact(label string, values ...string) {
	for _, value := range values {
		if value != "" {
			p.line("  %-11s %s", label, value)
			label = ""
		}
	}
}

func (p *printer) heading() {
	p.line("%s", p.report.Subject)
	if p.ns.Sandbox != nil {
		p.fact("container", p.ns.Sandbox.ContainerID)
	}
	p.fact("namespace", strings.Join(p.ns.Paths, " "), p.nsid())
	for _, note := range p.report.Notes {
		p.fact("not read", note.About+": "+note.Text)
	}
	p.line("")
}

func (p *printer) nsid() string {
	text := fmt.Sprintf("inode %d", p.ns.Inode)
	if p.ns.NSID != nil {
		text += fmt.Sprintf(", netnsid %d on the node", *p.ns.NSID)
	}
	return text
}

func (p *printer) findings() {
	if len(p.report.Findings) == 0 {
		p.line("%s\n", p.style.Good("Nothing is wrong."))
	}
	for _, finding := range p.report.Findings {
		p.line("%s %s", finding.Severity.styled(p.style), finding.ID)
		p.line("  %s", finding.Text)
		for _, evidence := range finding.Evidence {
			p.fact("seen", p.nameOf(evidence.At)+" "+evidence.Field+" = "+evidence.Value)
		}
		p.fact("do", finding.Do)
		p.line("")
	}
}

// styled gives the word of a severity.
func (s Severity) styled(words style.Style) string {
	text := strings.ToUpper(string(s))
	switch s {
	case Error:
		return words.Bad(text)
	case Warning:
		return words.Doubtful(text)
	}
	return words.Note(text)
}

// nameOf names an interface, and where it is unless that is here.
func (p *printer) nameOf(ref Ref) string {
	link, ns := p.graph.Link(ref), p.graph.Namespace(ref.Namespace)
	switch {
	case link == nil && ns == nil:
		return fmt.Sprintf("an unknown interface of index %d", ref.Index)
	case link == nil:
		return ns.Title()
	case ref.Namespace == p.ns.Inode:
		return link.Name
	}
	return link.Name + " (" + ns.Title() + ")"
}

func (p *printer) link(link *Link) {
	ref := Ref{p.ns.Inode, link.Index}
	if !link.Up && len(link.Addresses) == 0 && p.graph.attachmentOf(p.ns, link.Name) == nil && !isPair(link.Kind) && !isChild(link.Kind) {
		p.unused = append(p.unused, link.Name)
		return
	}
	p.line("%s  %s, index %d, MTU %d%s", link.Name, link.Kind, link.Index, link.MTU, prefixed(", MAC ", link.MAC))
	if attachment := p.graph.attachmentOf(p.ns, link.Name); attachment != nil {
		p.fact("network", attachment.Network+" by "+strings.Join(attachment.Plugins, ", "))
	}
	p.fact("state", strings.Join(link.Flags, ",")+prefixed(", ", link.OperState)+queue(link))
	p.fact("addresses", addressLines(link)...)
	p.connections(ref, link)
	p.fact("neighbours", p.neighbours(ref)...)
	p.fact("counters", counterLines(link)...)
	p.fact("sysctls", p.sysctls(link.Name))
	p.line("")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func queue(link *Link) string {
	if link.TxQueue == 0 {
		return ""
	}
	return fmt.Sprintf(", queue of %d", link.TxQueue)
}

func addressLines(link *Link) []string {
	var lines []string
	for _, address := range link.Addresses {
		lines = append(lines, address.Address+" "+address.Scope)
	}
	return lines
}

// connections writes what an interface leads to.
func (p *printer) connections(ref Ref, link *Link) {
	if other, end := p.graph.PeerOf(ref); end != nil {
		p.fact("peer", p.describe(other, end))
	} else if isPair(link.Kind) {
		p.fact("peer", "in a namespace that was not read")
	}
	if other, parent := p.graph.ParentOf(ref); parent != nil {
		p.fact("parent", p.describe(other, parent))
	} else if isChild(link.Kind) {
		p.fact("parent", "in a namespace that was not read")
	}
	p.fact("mode", link.Mode)
	if link.VLAN != 0 {
		p.fact("VLAN", strconv.Itoa(link.VLAN))
	}
	if other, master := p.graph.MasterOf(ref); master != nil {
		p.fact("master", p.describe(other, master))
	}
	if other, bridge := p.graph.BridgeOf(ref); bridge != nil {
		p.bridge(ref, other, bridge)
	}
	p.device(link.Device)
}

func (p *printer) describe(ref Ref, link *Link) string {
	return fmt.Sprintf("%s, %s, index %d, MTU %d%s, %s", p.nameOf(ref), link.Kind, ref.Index, link.MTU, prefixed(", MAC ", link.MAC), strings.Join(link.Flags, ","))
}

func (p *printer) bridge(ref, at Ref, bridge *Link) {
	p.fact("bridge", p.describe(at, bridge), prefixed("addresses ", strings.Join(bridge.globals(0), " ")))
	var ports []string
	for _, port := range p.graph.PortsOf(at) {
		ports = append(ports, port.Name+portText(port.Port))
	}
	p.fact("ports", strings.Join(ports, ", "))
	link := p.graph.Link(ref)
	for _, entry := range p.graph.Namespace(at.Namespace).FDB {
		if entry.MAC == link.MAC && entry.Master == at.Index {
			p.fact("FDB", fmt.Sprintf("%s is at %s%s", entry.MAC, p.nameOf(Ref{at.Namespace, entry.Index}), vlanText(entry.VLAN)))
		}
	}
}

func portText(port *Port) string {
	if port == nil {
		return ""
	}
	words := []string{}
	if port.State != "" {
		words = append(words, port.State)
	}
	if port.Hairpin {
		words = append(words, "hairpin")
	}
	if port.Isolated {
		words = append(words, "isolated")
	}
	for _, vlan := range port.VLANs {
		words = append(words, strings.TrimSpace(vlanText(vlan.ID)))
	}
	return prefixed(" ", strings.Join(words, " "))
}

func vlanText(id int) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf(" VLAN %d", id)
}

func (p *printer) device(device *Device) {
	if device == nil {
		return
	}
	text := device.ID + prefixed(" on ", device.Bus)
	if device.VF != nil {
		text += fmt.Sprintf(", VF %d", *device.VF)
	}
	p.fact("device", text+prefixed(" of ", device.PF))
}

func (p *printer) neighbours(ref Ref) []string {
	var lines []string
	for _, n := range p.ns.Neighbours {
		if n.Index == ref.Index {
			lines = append(lines, n.Address+prefixed(" ", n.MAC)+prefixed(" ", n.State))
		}
	}
	return lines
}

func counterLines(link *Link) []string {
	s := link.Statistics
	if s == nil {
		return nil
	}
	return []string{
		fmt.Sprintf("received %d packets, %d bytes, %d errors, %d dropped", s.RxPackets, s.RxBytes, s.RxErrors, s.RxDropped),
		fmt.Sprintf("sent %d packets, %d bytes, %d errors, %d dropped", s.TxPackets, s.TxBytes, s.TxErrors, s.TxDropped),
	}
}

// sysctls gives those of an interface that are not 0.
func (p *printer) sysctls(link string) string {
	var set []string
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, setting := range []string{"forwarding", "rp_filter", "proxy_arp", "disable_ipv6"} {
			if value := p.ns.SysctlOf(family, link, setting); value != "" && value != "0" {
				set = append(set, fmt.Sprintf("%s %s %s", family, setting, value))
			}
		}
	}
	return strings.Join(set, ", ")
}

// rest writes what belongs to the namespace as a whole.
func (p *printer) rest() {
	p.list("rules", p.rules())
	p.list("routes", p.routes())
	p.list("netfilter", p.netfilter())
	if len(p.unused) > 0 {
		p.line("not used: %s", strings.Join(p.unused, ", "))
	}
}

func (p *printer) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.line("%s", title)
	for _, line := range lines {
		p.line("  %s", line)
	}
	p.line("")
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
	var lines []string
	for _, ns := range []*Namespace{p.ns, p.graph.Host()} {
		if ns == nil || len(lines) > 0 && ns == p.ns {
			continue
		}
		for kind, tables := range map[string][]string{"nftables": ns.Netfilter.NFT, "legacy iptables": ns.Netfilter.Legacy} {
			if len(tables) > 0 {
				lines = append(lines, fmt.Sprintf("%s of %s: %s; what their rules do is not asked", kind, ns.Title(), strings.Join(tables, ", ")))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
