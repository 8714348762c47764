package inspect

import (
	"cmp"
	"fmt"
	"strings"
)

// defaults gives the node's default routes of a family in the main table.
func (v *nodeView) defaults(family int) (routes []Route) {
	host := v.Host()
	if host == nil {
		return nil
	}
	for _, route := range host.Routes {
		if route.To == "default" && route.Family == family && route.Table == mainTable && route.Type == "" {
			routes = append(routes, route)
		}
	}
	return routes
}

func tiedDefaultRoutes(v *nodeView) (all []Finding) {
	for _, family := range []int{4, 6} {
		byMetric := map[int]Route{}
		for _, route := range v.defaults(family) {
			other, tied := byMetric[route.Metric]
			if tied && other.Index != route.Index {
				all = append(all, v.finding(fmt.Sprintf("two default routes of IPv%d have the metric %d, by %s and by %s: which one is taken depends on their order",
					family, route.Metric, v.hostName(other.Index), v.hostName(route.Index)), v.seen("routes[default].metric", route.Metric))...)
			}
			byMetric[route.Metric] = route
		}
	}
	return all
}

func (v *nodeView) hostName(index int) string {
	if link := v.Link(Ref{v.host.Namespace, index}); link != nil {
		return link.Name
	}
	return fmt.Sprintf("index %d", index)
}

// uplink gives the interface of the node's first default route.
func (v *nodeView) uplink() *Link {
	for _, family := range []int{4, 6} {
		for _, route := range v.defaults(family) {
			for _, hop := range route.hops() {
				if link := v.Link(Ref{v.host.Namespace, hop.Index}); link != nil {
					return link
				}
			}
		}
	}
	return nil
}

// mtuAboveUplink looks at the pods whose default route leads through the node.
func mtuAboveUplink(v *nodeView) []Finding {
	uplink := v.uplink()
	if uplink == nil {
		return nil
	}
	var names []string
	var evidence []Evidence
	for _, s := range v.subjects() {
		_, peer := v.PeerOf(s.ref)
		if peer == nil || s.link.MTU <= uplink.MTU || !s.isDefault() {
			continue
		}
		names = append(names, s.ns.Title()+" ("+s.link.Name+")")
		evidence = append(evidence, at(s.ref, "mtu", s.link.MTU))
	}
	if len(names) == 0 {
		return nil
	}
	evidence = append(evidence[:min(len(evidence), listed)], at(v.host, uplink.Name+".mtu", uplink.MTU))
	return v.finding(fmt.Sprintf("the node sends packets on by %s, whose MTU is %d; that of %s is larger: %s", uplink.Name, uplink.MTU, plural(len(names), "pod"), list(names)), evidence...)
}

// isDefault reports whether the default route of the namespace leaves by the interface.
func (s subject) isDefault() bool {
	for _, route := range s.ns.Routes {
		for _, hop := range route.hops() {
			if route.To == "default" && route.Type == "" && hop.Index == s.ref.Index {
				return true
			}
		}
	}
	return false
}

func apiUnreachable(v *nodeView) []Finding {
	if api := v.s.API; api != nil && api.Error != "" {
		return v.finding("the API server cannot be reached: "+api.Error, v.seen("api.error", api.Error))
	}
	return nil
}

// crdMissing is what the CRD is where the API server does not serve it.
const crdMissing = "missing"

func noCRD(v *nodeView) []Finding {
	if api := v.s.API; api != nil && api.CRD == crdMissing {
		return v.finding("the API server does not serve network-attachment-definitions.k8s.cni.cncf.io: no pod can select a network", v.seen("api.crd", api.CRD))
	}
	return nil
}

func rightsMissing(v *nodeView) (all []Finding) {
	if v.s.API == nil {
		return nil
	}
	for _, right := range v.s.API.Rights {
		if right.Allowed || right.Error != "" {
			continue
		}
		where := ""
		if right.Namespace != "" {
			where = " in namespace " + right.Namespace
		}
		all = append(all, v.finding(fmt.Sprintf("you may not %s %s%s, which is needed for %s", right.Verb, right.Resource, where, right.For),
			v.seen("api.rights["+right.Verb+" "+right.Resource+"]", false))...)
	}
	return all
}

func agentPod(v *nodeView) []Finding {
	api := v.s.API
	switch {
	case api == nil || api.Error != "" || api.AgentError != "":
		return nil
	case api.Agent == nil && v.cni.Agent != nil:
		return v.finding("the cluster has no pod of the agent on this node", v.seen("api.agent", "none"))
	case api.Agent != nil && !api.Agent.Ready:
		return v.finding(fmt.Sprintf("the agent's pod %s is not ready: %s", api.Agent.Name, cmp.Or(api.Agent.Reason, "its probe fails")), v.seen("api.agent.ready", false))
	}
	return nil
}

// unread says what could not be read: nothing is known of it.
func unread(v *nodeView) (all []Finding) {
	for _, note := range v.s.Notes {
		all = append(all, v.finding(note.About+" could not be read: "+strings.ReplaceAll(note.Text, "\n", "; "), v.seen("notes["+note.About+"]", note.Text))...)
	}
	return all
}
