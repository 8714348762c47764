package path

import (
	"errors"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// resolved reports a frame whose sender has not resolved the next hop yet, and gets no answer from here.
func (t *tracer) resolved(at point, link *inspect.Link, ns *inspect.Namespace) error {
	switch {
	case family(t.next) == 6:
		return t.resolvedByNDP(at, link, ns)
	case !has(ns, t.next):
		return t.proxied(at, link, ns)
	case answersFor(ns, link, t.next):
		return nil
	}
	return lost("Give the address to "+link.Name+", or set net.ipv4.conf.all.arp_ignore=0 there.",
		"%s of %s answers no request for %s, which another interface there has, as arp_ignore is %s", link.Name, ns.Title(), t.next, sysctl(ns, "ipv4", link.Name, "arp_ignore"))
}

// answersFor reports whether an interface says that an address of its namespace is there: by ARP it does for
// those of all interfaces unless arp_ignore is set, and by NDP for its own alone.
func answersFor(ns *inspect.Namespace, link *inspect.Link, address string) bool {
	if hasAddress(link, address) {
		return true
	}
	ignore := sysctl(ns, "ipv4", link.Name, "arp_ignore")
	return family(address) == 4 && ignore != "1" && ignore != "2" && has(ns, address)
}

// unanswered is a frame for which a bridge has no port: the bridge's own interface may answer for the address
// by proxy, or say why it does not.
func (t *tracer) unanswered(bridge point, link *inspect.Link, nowhere error) error {
	ns := t.world.namespace(bridge)
	switch err := t.resolved(bridge, link, ns); {
	case err == nil:
		return t.stack(bridge, link)
	case errors.Is(err, errAsked) || has(ns, t.next):
		return err
	}
	return nowhere
}

// resolvedByNDP reports an address that an interface does not answer for: by NDP, it answers for its own
// addresses alone, and for those of its proxy entries.
func (t *tracer) resolvedByNDP(at point, link *inspect.Link, ns *inspect.Namespace) error {
	if answersFor(ns, link, t.next) || isAnycast(ns, at.Index, t.next) {
		return nil
	}
	setting := sysctl(ns, "ipv6", link.Name, "proxy_ndp")
	switch proxy := proxyEntry(ns, at.Index, t.next); {
	case proxy && setting != "0":
		return nil
	case proxy:
		return lost("Set it: sysctl -w net.ipv6.conf."+link.Name+".proxy_ndp=1.", "%s of %s has a proxy entry for %s, and does not use it, as proxy_ndp is 0", link.Name, ns.Title(), t.next)
	case has(ns, t.next):
		return lost("Give the address to "+link.Name+".", "%s of %s answers no request for %s: another interface there has it, and IPv6 answers by that one alone", link.Name, ns.Title(), t.next)
	}
	return lost("Give the address to that interface, or the pod another gateway.", "%s of %s answers no request for %s: no interface there has it", link.Name, ns.Title(), t.next)
}

// isAnycast reports an address that all routers of a subnet have, which the kernel gives a route.
func isAnycast(ns *inspect.Namespace, index int, address string) bool {
	return slices.ContainsFunc(ns.Routes, func(r inspect.Route) bool {
		return r.Type == "anycast" && r.Index == index && inspect.ParseIP(r.To) == inspect.ParseIP(address)
	})
}

func proxyEntry(ns *inspect.Namespace, index int, address string) bool {
	for _, n := range ns.Neighbours {
		if n.Proxy && (n.Index == index || n.Index == 0) && inspect.ParseIP(n.Address) == inspect.ParseIP(address) {
			return true
		}
	}
	return false
}

func byProxy(address string) string { return "answers for " + address + " by proxy ARP" }

// proxied is an address that is nowhere in a namespace: it is answered by proxy ARP, if there is a route to it.
func (t *tracer) proxied(at point, link *inspect.Link, ns *inspect.Namespace) error {
	if proxyEntry(ns, at.Index, t.next) {
		return nil
	}
	if sysctl(ns, "ipv4", link.Name, "proxy_arp") != "1" {
		return lost("Give the address to an interface there, or the pod another gateway.", "%s of %s answers no request for %s: no interface there has it", link.Name, ns.Title(), t.next)
	}
	answer, err := t.ask(at, inspect.Question{To: t.next})
	if err != nil {
		return err
	}
	if answer.Route == nil {
		return lost("Give the node a default route.", "%s of %s would answer for %s by proxy ARP, which needs a route to it on the node, and there is none (%s)", link.Name, ns.Title(), t.next, answer.Refused)
	}
	if answer.Route.Index == at.Index {
		return lost("Give the node a default route by another interface.", "%s of %s does not answer for %s by proxy ARP, as the node's own route to it is by this interface", link.Name, ns.Title(), t.next)
	}
	t.addAbout(byProxy(t.next))
	return nil
}
