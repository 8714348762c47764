package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// most is how many ports or entries of a bridge are shown: a node may have hundreds.
const most = 20

// connections writes what an interface leads to.
func (p *printer) connections(ref Ref, link *Link) {
	if other, end := p.graph.PeerOf(ref); end != nil {
		p.fact("peer", p.showLink(other), p.describe(other, end))
		p.queues("peer qdisc", other, end)
		p.fact("peer BPF", p.in(p.graph.Namespace(other.Namespace), "bpftool net show dev %s", end.Name), programLines(end)...)
	} else if IsPair(link.Kind) {
		p.fact("peer", "", "in a namespace that was not read")
	}
	if other, parent := p.graph.ParentOf(ref); parent != nil {
		p.fact("parent", p.showLink(other), p.describe(other, parent))
	} else if IsChild(link.Kind) {
		p.fact("parent", "", "in a namespace that was not read")
	}
	if other, master := p.graph.MasterOf(ref); master != nil {
		p.fact("master", p.showLink(other), p.describe(other, master))
	}
	if other, bridge := p.graph.BridgeOf(ref); bridge != nil {
		p.bridge(ref, other, bridge)
	}
	p.device(link.Device)
}

// showLink gives the command that shows an interface, wherever it is.
func (p *printer) showLink(ref Ref) string {
	link := p.graph.Link(ref)
	if link == nil {
		return ""
	}
	return p.in(p.graph.Namespace(ref.Namespace), "ip -d link show dev %s", link.Name)
}

func (p *printer) describe(ref Ref, link *Link) string {
	return fmt.Sprintf("%s, %s, index %d, MTU %d%s, %s", p.nameOf(ref), link.Kind, ref.Index, link.MTU, prefixed(", MAC ", link.MAC), strings.Join(link.Flags, ","))
}

// kind writes what only interfaces of one kind have.
func (p *printer) kind(ref Ref, link *Link) {
	show := p.showLink(ref)
	p.fact("mode", show, link.Mode)
	if link.VLAN != 0 {
		p.fact("VLAN", show, strconv.Itoa(link.VLAN)+prefixed(", ", link.VLANProtocol))
	}
	if link.Table != 0 {
		p.fact("table", show, tableName(link.Table))
	}
	if link.ActiveSlave != 0 {
		p.fact("bond", show, "sends by "+p.nameOf(Ref{ref.Namespace, link.ActiveSlave}))
	}
	if slave := link.Slave; slave != nil {
		p.fact("in bond", show, fmt.Sprintf("%s, MII %s, %d failures", slave.State, slave.MII, slave.Failures))
	}
	if link.Kind == "bridge" && link.Master == 0 {
		p.bridge(ref, ref, link)
	}
	p.fact("tunnel", show, p.tunnel(ref, link))
	if tun := link.Tun; tun != nil {
		p.fact("program", p.in(p.graph.Namespace(ref.Namespace), "ip tuntap show"), tunText(tun))
	}
}

func tunText(tun *Tun) string {
	text := map[int]string{2: "tap: frames go to", 3: "tun: packets go to"}[tun.Layer]
	if text == "" {
		text = "all goes to"
	}
	if tun.Program == "" {
		return text + " a program of user space, whose name is not known"
	}
	return text + " " + tun.Program
}

// tunnel gives the ends of a tunnel, "" for what is none.
func (p *printer) tunnel(ref Ref, link *Link) string {
	if link.VXLAN == nil && link.Tunnel == nil {
		return ""
	}
	var words []string
	add := func(format string, value any, known bool) {
		if known {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	local, external := link.tunnelEnd()
	if v := link.VXLAN; v != nil {
		add("VNI %d", v.ID, !external)
		add("port %d", v.Port, v.Port != 0)
		add("to %s", v.Group, v.Group != "")
		add("%s", "learns", v.Learning)
	}
	if t := link.Tunnel; t != nil {
		if t.Key != nil {
			add("key %d", *t.Key, true)
		}
		add("port %d", t.Port, t.Port != 0)
		add("to %s", t.Remote, t.Remote != "")
	}
	add("from %s", local, local != "")
	if lower, device := p.graph.LowerOf(ref); device != nil {
		add("by %s", p.nameOf(lower), true)
	}
	add("%s", "both ends are given with each packet", external)
	return strings.Join(words, ", ")
}

func (p *printer) bridge(ref, at Ref, bridge *Link) {
	ns := p.graph.Namespace(at.Namespace)
	if ref != at {
		p.fact("bridge", p.showLink(at), p.describe(at, bridge), prefixed("addresses ", strings.Join(bridge.globals(0), " ")))
	}
	if bridge.Bridge != nil {
		p.fact("VLANs", p.in(ns, "bridge vlan show dev %s", bridge.Name), prefixed("of the bridge itself:", portText(&Port{VLANs: bridge.Bridge.VLANs})))
	}
	var ports []string
	for _, port := range p.graph.PortsOf(at) {
		ports = append(ports, port.Name+portText(port.Port))
	}
	p.fact("ports", p.in(ns, "bridge -d link show; bridge vlan show"), strings.Join(shortened(ports), ", "))
	p.fact("FDB", p.in(ns, "bridge fdb show br %s", bridge.Name), p.entries(ref, at)...)
}

// shortened gives the first of many, and how many there are besides.
func shortened(lines []string) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("and %d more", len(lines)-most))
}

// entries gives what a bridge has learned, the interface's own MAC first.
func (p *printer) entries(ref, at Ref) []string {
	link := p.graph.Link(ref)
	var own, others []string
	for _, entry := range p.graph.Namespace(at.Namespace).FDB {
		if entry.Master != at.Index {
			continue
		}
		text := fmt.Sprintf("%s is at %s%s", entry.MAC, p.nameOf(Ref{at.Namespace, entry.Index}), vlanText(entry.VLAN))
		switch {
		case link != nil && entry.MAC == link.MAC:
			own = append(own, text)
		case entry.State != "permanent": // those are the MACs of the ports
			others = append(others, text)
		}
	}
	return shortened(append(own, others...))
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
		words = append(words, strings.TrimSpace(vlanText(vlan.ID))+pvidText(vlan))
	}
	return prefixed(" ", strings.Join(words, " "))
}

func pvidText(vlan PortVLAN) string {
	var words []string
	if vlan.PVID {
		words = append(words, "PVID")
	}
	if vlan.Untagged {
		words = append(words, "untagged")
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

func vlanText(id int) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf(" VLAN %d", id)
}

// device writes which VF it is, how its PF treats it, and which interface stands for it.
func (p *printer) device(device *Device) {
	if device == nil {
		return
	}
	text := device.ID + prefixed(" on ", device.Bus)
	if device.VF != nil {
		text += fmt.Sprintf(", VF %d", *device.VF)
	}
	p.fact("device", "ls -l /sys/bus/"+device.Bus+"/devices/"+device.ID, text+prefixed(" of ", device.PF))
	node := p.graph.Host()
	if node == nil || device.VF == nil {
		return
	}
	pf := node.LinkNamed(device.PF)
	if pf == nil {
		return
	}
	for _, vf := range pf.VFs {
		if vf.Index == *device.VF {
			p.fact("at the PF", p.in(node, "ip link show dev %s", pf.Name), vfText(vf))
		}
	}
	if port := node.LinkNamed(device.Representor); port != nil {
		p.fact("representor", p.in(node, "ip -d link show dev %s", port.Name), port.Name+prefixed(", ", port.OperState))
	}
}

func vfText(vf VF) string {
	words := []string{}
	for word, is := range map[string]bool{"trust": vf.Trust, "spoofchk": vf.Spoofchk} {
		words = append(words, word+map[bool]string{true: " on", false: " off"}[is])
	}
	slices.Sort(words)
	return strings.TrimPrefix(prefixed("MAC ", vf.MAC)+prefixed(", ", strings.TrimSpace(vlanText(vf.VLAN)))+", "+strings.Join(words, ", ")+prefixed(", link state ", vf.State), ", ")
}

// ethernet writes what ethtool shows.
func (p *printer) ethernet(ns *Namespace, link *Link) {
	e := link.Ethernet
	if e == nil {
		return
	}
	p.fact("driver", p.in(ns, "ethtool -i %s", link.Name), e.Driver)
	if e.Speed != 0 {
		p.fact("speed", p.in(ns, "ethtool %s", link.Name), fmt.Sprintf("%d Mbit/s%s", e.Speed, prefixed(", duplex ", e.Duplex)))
	}
	var on, off []string
	for _, name := range slices.Sorted(maps.Keys(e.Offloads)) {
		if e.Offloads[name] {
			on = append(on, name)
		} else {
			off = append(off, name)
		}
	}
	p.fact("offloads", p.in(ns, "ethtool -k %s", link.Name), prefixed("on: ", strings.Join(on, ", ")), prefixed("off: ", strings.Join(off, ", ")))
}

// queues writes the qdiscs that delay or drop packets, or send them elsewhere.
func (p *printer) queues(label string, ref Ref, link *Link) {
	var lines []string
	for _, q := range link.Qdiscs {
		words := []string{q.Kind + prefixed(" ", q.Handle)}
		if q.Parent != "" && q.Parent != q.Kind {
			words[0] += " at " + q.Parent
		}
		if q.Rate != 0 {
			words = append(words, fmt.Sprintf("%d bit/s", 8*q.Rate))
		}
		if q.Dropped != 0 {
			words = append(words, fmt.Sprintf("%d dropped", q.Dropped))
		}
		for _, index := range q.Redirects {
			words = append(words, "sends to "+p.nameOf(Ref{ref.Namespace, index}))
		}
		lines = append(lines, strings.Join(words, ", "))
	}
	p.fact(label, p.in(p.graph.Namespace(ref.Namespace), "tc -s qdisc show dev %s", link.Name), lines...)
}

func programLines(link *Link) []string {
	var lines []string
	for _, program := range link.Programs {
		lines = append(lines, fmt.Sprintf("%s: program %d%s; what it does is not asked", program.At, program.ID, prefixed(" ", program.Name)))
	}
	return lines
}

// packetSockets gives the programs that take packets off an interface; 0 is for those that take them
// off all.
func (p *printer) packetSockets(ns *Namespace, index int) []string {
	var lines []string
	for _, socket := range ns.Packets {
		if socket.Index != index {
			continue
		}
		program := socket.Program
		if program == "" {
			program = "a program whose name is not known"
		}
		lines = append(lines, program+" has a packet socket")
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// elsewhere writes the attachments that are no interface of the kernel here: a program drives them.
func (p *printer) elsewhere() {
	for _, attachment := range p.graph.AttachmentsOf(p.ns) {
		for _, recorded := range attachment.Interfaces {
			if recorded.Socket == "" || p.ns.LinkNamed(recorded.Name) != nil {
				continue
			}
			p.begin(recorded.Name, "vhost-user port, which no kernel has"+prefixed(", MAC ", recorded.MAC), "")
			p.fact("network", "", attachment.Network+" by "+strings.Join(attachment.Plugins, ", "))
			p.fact("socket", "ss --unix --all --processes src "+recorded.Socket, recorded.Socket)
			for _, port := range attachment.Interfaces {
				if !port.InSandbox {
					p.fact("switch port", "ovs-vsctl list Interface "+port.Name, port.Name)
				}
			}
			for _, address := range attachment.Addresses {
				p.fact("address", "", address.Address)
			}
		}
	}
}
