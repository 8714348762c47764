package inspect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func strictFilter(s subject) []Finding {
	value := max(s.ns.SysctlOf("ipv4", "all", "rp_filter"), s.ns.SysctlOf("ipv4", s.link.Name, "rp_filter"))
	addresses := s.link.globals(4)
	if value != "1" || len(addresses) == 0 || !s.ns.hasDefaultBeside(s.ref.Index) {
		return nil
	}
	if _, master := s.MasterOf(s.ref); master != nil && master.Kind == "vrf" {
		return nil // the filter asks the VRF's table
	}
	for _, address := range addresses {
		if s.ns.hasRuleFor(ParseIP(address)) {
			continue
		}
		found := s.finding(fmt.Sprintf("%s: rp_filter is strict, the default route leaves by another interface, and no rule is for %s", s.link.Name, address),
			at(s.ref, "sysctls["+Sysctl("ipv4", s.link.Name, "rp_filter")+"]", value), at(s.ref, "rules", "none from "+address))
		return s.counted(advise(found, "Let answers leave by the same interface: %s. The `sbr` plugin does so for a network. Or set rp_filter to 2 by the `tuning` plugin.", s.wayBack(address)))
	}
	return nil
}

const filtered = "TcpExtIPReversePathFilter"

// counted makes a warning of a notice if a reverse-path filter of the namespace has dropped packets. The
// kernel counts them for all interfaces together.
func (s subject) counted(found []Finding) []Finding {
	if count := s.ns.Counters[filtered]; count > 0 {
		found[0].Severity = Warning
		found[0].Text += fmt.Sprintf("; the filters of this namespace have dropped %d packets", count)
		found[0].Evidence = append(found[0].Evidence, at(Ref{Namespace: s.ns.Inode}, "counters["+filtered+"]", count))
	}
	return found
}

// wayBack gives the commands that make answers leave by the interface.
func (s subject) wayBack(address string) string {
	commands := fmt.Sprintf("`ip rule add from %s table 100`, with ", address)
	for _, gateway := range s.gateways() {
		if ParseIP(gateway).Is4() {
			return commands + fmt.Sprintf("`ip route add default via %s dev %s table 100`", gateway, s.link.Name)
		}
	}
	return commands + fmt.Sprintf("the routes of that network in table 100 (`ip route add NETWORK via GATEWAY dev %s table 100`)", s.link.Name)
}

// hasDefaultBeside reports whether the default route of IPv4 leaves by another interface alone.
func (n *Namespace) hasDefaultBeside(index int) bool {
	beside := false
	for _, route := range n.Routes {
		if route.To != "default" || route.Family != 4 || route.Table != mainTable || route.Type != "" {
			continue
		}
		for _, hop := range route.hops() {
			if hop.Index == index {
				return false
			}
			beside = true
		}
	}
	return beside
}

// hasRuleFor reports whether a rule gives what comes from an address a table of its own.
func (n *Namespace) hasRuleFor(address netip.Addr) bool {
	return slices.ContainsFunc(n.Rules, func(r Rule) bool {
		from, err := netip.ParsePrefix(r.From)
		return err == nil && from.Contains(address) && !r.Not && r.Table != mainTable && r.Table != localTable
	})
}

func legacyTables(g *Graph) (all []Finding) {
	for _, ns := range g.snapshot.Namespaces {
		legacy, nft := ns.Netfilter.Legacy, ns.Netfilter.NFT
		if len(legacy) == 0 {
			continue
		}
		ref := Ref{Namespace: ns.Inode}
		finding := Finding{
			At: ref, Text: fmt.Sprintf("legacy iptables has rules in %s, beside nftables in %s", strings.Join(legacy, ", "), strings.Join(nft, ", ")),
			Evidence: []Evidence{at(ref, "netfilter.legacy", legacy), at(ref, "netfilter.nft", nft)},
		}
		if len(nft) == 0 {
			finding.Severity, finding.Text = Notice, fmt.Sprintf("legacy iptables has rules in %s, which nft does not show", strings.Join(legacy, ", "))
		}
		all = append(all, finding)
	}
	return all
}

// forwardDropsAll looks at namespaces that forward.
func forwardDropsAll(g *Graph) (all []Finding) {
	for i := range g.snapshot.Namespaces {
		ns := &g.snapshot.Namespaces[i]
		for _, chain := range ns.Netfilter.Closed {
			words := strings.Fields(chain)
			if len(words) != 4 || !ns.forwards(words[1]) {
				continue
			}
			ref := Ref{Namespace: ns.Inode}
			all = append(all, advise([]Finding{{
				At: ref, Text: fmt.Sprintf("%s of %s in table %s drops all that is forwarded: its policy is DROP, and it has no rule", words[3], kindOfTables(words[0]), words[2]),
				Evidence: []Evidence{at(ref, "netfilter.closed", chain)},
			}}, "Set the policy with `%s`, and find out who set it: Docker does, for one.", openChain(words))...)
		}
	}
	return all
}

// forwards reports whether packets of a family of netfilter are forwarded: those that a bridge forwards
// are not routed.
func (n *Namespace) forwards(family string) bool {
	is4, is6 := n.Sysctls["net.ipv4.ip_forward"] == "1", n.SysctlOf("ipv6", "all", "forwarding") == "1"
	switch family {
	case "ip":
		return is4
	case "ip6":
		return is6
	case "bridge":
		return slices.ContainsFunc(n.Links, func(l Link) bool { return l.Master != 0 })
	}
	return is4 || is6
}

func kindOfTables(word string) string {
	if word == "legacy" {
		return "legacy iptables"
	}
	return "nftables"
}

// openChain gives the command that lets a chain accept.
func openChain(words []string) string {
	if words[0] == "legacy" {
		return words[1] + "tables-legacy -P " + words[3] + " ACCEPT"
	}
	return fmt.Sprintf("nft chain %s %s %s '{ policy accept; }'", words[1], words[2], words[3])
}
