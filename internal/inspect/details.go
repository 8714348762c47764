package inspect

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Details are what a Report says besides its findings.
type Details struct {
	Heading  Section
	Sections []Section // each interface, then what belongs to the namespace as a whole
	Unused   []string  // interfaces that the kernel made
}

// Section is an interface with its facts, or a list.
type Section struct {
	Title   string
	About   string // goes on after the title
	Command string // what shows it by hand; "" if nothing does
	Facts   []Detail
	Lines   []string
}

// Detail is a fact of a Section.
type Detail struct {
	Label   string
	Values  []string
	Command string
}

// Details gives what is known of the namespace.
func (r *Report) Details() Details {
	p := r.printer()
	heading := p.heading()
	for i := range r.Namespace.Links {
		p.link(&r.Namespace.Links[i])
	}
	p.elsewhere()
	p.rest()
	return Details{heading, p.sections, p.unused}
}

// Seen gives the evidence of a finding, with the names of interfaces.
func (r *Report) Seen(finding *Finding) (seen []string) {
	p := r.printer()
	for _, evidence := range finding.Evidence {
		seen = append(seen, p.nameOf(evidence.At)+" "+evidence.Field+" = "+evidence.Value)
	}
	return seen
}

func (r *Report) printer() *printer { return &printer{report: r, graph: r.graph, ns: r.Namespace} }

// printer collects the sections of a report.
type printer struct {
	report   *Report
	graph    *Graph
	ns       *Namespace
	sections []Section
	unused   []string
}

// begin begins a section.
func (p *printer) begin(title, about, command string) {
	p.sections = append(p.sections, Section{Title: title, About: about, Command: command})
}

// fact adds to the section the values that are known, and the command that shows them.
func (p *printer) fact(label, command string, values ...string) {
	section := &p.sections[len(p.sections)-1]
	known := slices.DeleteFunc(slices.Clone(values), func(value string) bool { return value == "" })
	if len(known) > 0 {
		section.Facts = append(section.Facts, Detail{label, known, command})
	}
}

// in gives a command that runs in a namespace; "" if it has no path to enter it by. A shell takes each
// argument as it is: a pod names its own interfaces.
func (p *printer) in(ns *Namespace, format string, args ...string) string {
	quoted := make([]any, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	command := fmt.Sprintf(format, quoted...)
	switch {
	case ns == nil || !ns.Host && len(ns.Paths) == 0:
		return ""
	case ns.Host:
		return command
	}
	return "nsenter --net=" + quote(ns.Paths[0]) + " " + command
}

// plain is what no shell changes.
var plain = regexp.MustCompile(`^[\w./:@%+=,-]+$`)

func quote(arg string) string {
	if plain.MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// heading says whose namespace it is.
func (p *printer) heading() Section {
	p.begin(p.report.Subject, "", "")
	if p.ns.Sandbox != nil {
		p.fact("container", "", p.ns.Sandbox.ContainerID)
	}
	p.fact("namespace", p.idCommand(), strings.Join(p.ns.Paths, " "), p.nsid())
	if p.ns.Brief {
		p.fact("read", "", "only the interfaces and their addresses")
	}
	for _, note := range p.report.Notes {
		p.fact("not read", "", note.About+": "+note.Text)
	}
	heading := p.sections[0]
	p.sections = nil
	return heading
}

func (p *printer) idCommand() string {
	if len(p.ns.Paths) == 0 {
		return ""
	}
	return "stat -c %i " + p.ns.Paths[0] + "; ip netns list-id"
}

func (p *printer) nsid() string {
	text := fmt.Sprintf("inode %d", p.ns.Inode)
	if p.ns.NSID != nil {
		text += fmt.Sprintf(", netnsid %d on the node", *p.ns.NSID)
	}
	return text
}

// nameOf names an interface, and where it is unless that is here.
func (p *printer) nameOf(ref Ref) string {
	link, ns := p.graph.Link(ref), p.graph.Namespace(ref.Namespace)
	switch {
	case link == nil && (ns == nil || ref.Index != 0):
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
	if !link.Up && len(link.Addresses) == 0 && p.graph.attachmentOf(p.ns, link.Name) == nil && !IsPair(link.Kind) && !IsChild(link.Kind) {
		p.unused = append(p.unused, link.Name)
		return
	}
	show := p.in(p.ns, "ip -d link show dev %s", link.Name)
	p.begin(link.Name, fmt.Sprintf("%s, index %d, MTU %d%s", link.Kind, link.Index, link.MTU, prefixed(", MAC ", link.MAC)), show)
	p.recorded(link)
	p.fact("state", show, strings.Join(link.Flags, ",")+prefixed(", ", link.OperState)+queue(link))
	p.ethernet(p.ns, link)
	p.fact("addresses", p.in(p.ns, "ip address show dev %s", link.Name), addressLines(link)...)
	p.connections(ref, link)
	p.kind(ref, link)
	p.queues("qdisc", ref, link)
	p.fact("BPF", p.in(p.ns, "bpftool net show dev %s", link.Name), programLines(link)...)
	p.fact("packets", p.in(p.ns, "ss --packet --processes"), p.packetSockets(p.ns, link.Index)...)
	p.fact("neighbours", p.in(p.ns, "ip neigh show dev %s", link.Name), p.neighbours(ref)...)
	p.fact("counters", p.in(p.ns, "ip -s link show dev %s", link.Name), counterLines(link)...)
	p.fact("sysctls", p.in(p.ns, "sysctl -a --pattern %s", `^net\.ipv[46]\.conf\.`+sysctlPattern(link.Name)+`\.`), p.sysctls(link.Name))
}

// sysctlPattern gives the name of an interface as sysctl shows it, as an expression.
func sysctlPattern(name string) string { return strings.ReplaceAll(name, ".", "/") }

// recorded writes what the journal has of an interface, and whether the kernel still has it so.
func (p *printer) recorded(link *Link) {
	for _, record := range p.graph.RecordsOf(p.ns) {
		for i := range record.Attachments {
			attachment := &record.Attachments[i]
			if attachment != p.graph.attachmentOf(p.ns, link.Name) {
				continue
			}
			p.fact("network", "", attachment.Network+" by "+strings.Join(attachment.Plugins, ", "))
			state, why := stateOf(p.ns, record, attachment)
			if state == StateOK || state == StateUnpublished {
				why = "as it was attached"
			}
			p.fact("record", "", why)
		}
	}
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
		for _, setting := range []string{"forwarding", "rp_filter", "proxy_arp", "proxy_ndp", "arp_ignore", "arp_announce", "disable_ipv6"} {
			if value := p.ns.SysctlOf(family, link, setting); value != "" && value != "0" {
				set = append(set, fmt.Sprintf("%s %s %s", family, setting, value))
			}
		}
	}
	return strings.Join(set, ", ")
}
