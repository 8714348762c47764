package validate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// wire is what the interfaces of a network are attached to on a node.
type wire struct {
	kind   string // of the first plugin
	name   string // of the master or the bridge, with the VLAN
	shared bool   // it reaches other nodes
}

func (w wire) String() string {
	if w.name == "" {
		return "the node's default interface"
	}
	return w.name
}

// wireOf gives the wire of a network's first plugin; without a kind, if it is not known.
func (n *network) wireOf() wire {
	plugin := n.plugins()[0] // an empty list is refused
	w := wire{kind: plugin.get("type").str()}
	switch w.kind {
	case "macvlan", "ipvlan":
		w.name, w.shared = plugin.get("master").str(), true
	case "vlan":
		w.name, w.shared = strings.TrimSuffix(plugin.get("master").str()+"."+rawOf(plugin.get("vlanId")), ".nothing"), true
	case "bridge":
		w.name = cmp.Or(plugin.get("bridge").str(), "cni0")
		if vlan := plugin.get("vlan"); vlan != nil {
			w.name += " VLAN " + shorten(vlan.raw)
		}
	default:
		w.kind = ""
	}
	return w
}

// same reports whether what is attached to one wire meets what is attached to the other.
func (w wire) same(other wire) bool {
	return w.kind != "" && other.kind != "" && w.name == other.name && (w.kind == "bridge") == (other.kind == "bridge")
}

// pairRule is a rule about two networks, which reports of them the later one. It gives whether it did.
type pairRule func(r *run, n, other *network) bool

// checkTogether applies the rules about two networks. Each reports a network once, whatever number
// of earlier ones it does not go with.
func (r *run) checkTogether() {
	for i, n := range r.networks {
		for _, rule := range []pairRule{checkObject, checkName, checkMaster, checkOverlap, checkWhereaboutsOverlap, checkGateway} {
			for _, other := range r.networks[:i] {
				if rule(r, n, other) {
					break
				}
			}
		}
	}
}

func checkObject(r *run, n, other *network) bool {
	if n.judged != other.judged {
		return false
	}
	r.add(ruleObjectTwice, n.object, n.nameOffset(), "metadata.name", "network "+n.ref.String()+" is in "+other.doc.src.name+" too")
	return true
}

// goTogether reports whether two networks may be in one cluster, and both can be read.
func goTogether(n, other *network) bool {
	return n.judged != other.judged && n.conf != nil && other.conf != nil
}

func checkName(r *run, n, other *network) bool {
	if !goTogether(n, other) || n.conf.Name != other.conf.Name || n.sameConfig(other) {
		return false
	}
	r.addConfig(ruleNameTwice, n, "name", fmt.Sprintf("CNI name %q is that of network %s too, which has another configuration", n.conf.Name, other.ref))
	return true
}

func checkMaster(r *run, n, other *network) bool {
	if !goTogether(n, other) || !n.wire.same(other.wire) || n.wire.kind == other.wire.kind || !n.wire.isMaster() || !other.wire.isMaster() {
		return false
	}
	r.addConfig(ruleMaster, n, "plugins[0].master", fmt.Sprintf("%s on %s, where network %s has %s", n.wire.kind, n.wire, other.ref, other.wire.kind))
	return true
}

// countsApart reports whether two networks on one wire give out addresses without each other.
func countsApart(n, other *network) bool {
	return goTogether(n, other) && n.wire.same(other.wire) && n.conf.Name != other.conf.Name
}

func checkOverlap(r *run, n, other *network) bool {
	if !countsApart(n, other) {
		return false
	}
	for i := range n.ranges {
		for j := range other.ranges {
			if a, b := &n.ranges[i], &other.ranges[j]; a.overlaps(b) {
				r.addConfig(ruleOverlap, n, a.path, fmt.Sprintf("range %s overlaps range %s of network %s, both on %s", a, b, other.ref, n.wire))
				return true
			}
		}
	}
	return false
}

// checkGateway finds a range that gives out the gateway of another network on the wire.
func checkGateway(r *run, n, other *network) bool {
	if !countsApart(n, other) {
		return false
	}
	for i := range n.ranges {
		for j := range other.ranges {
			a, b := &n.ranges[i], &other.ranges[j]
			if a.has(b.gateway) && a.gateway != b.gateway && !a.overlaps(b) {
				r.addConfig(ruleReserved, n, a.path, fmt.Sprintf("range %s has %s in it, which is the gateway of network %s on %s", a, b.gateway, other.ref, n.wire))
				return true
			}
		}
	}
	return false
}

// isMaster reports whether the wire is the master of macvlan or ipvlan interfaces.
func (w wire) isMaster() bool { return w.kind == "macvlan" || w.kind == "ipvlan" }

func (n *network) sameConfig(other *network) bool {
	return bytes.Equal(n.canonical(), other.canonical())
}

// canonical gives the configuration as it is equal where the values are: without white space, with
// sorted keys.
func (n *network) canonical() []byte {
	if n.sorted != nil {
		return n.sorted
	}
	var v any
	if data, err := n.conf.Bytes(); err == nil && json.Unmarshal(data, &v) == nil {
		n.sorted, _ = json.Marshal(v) // it was JSON
	}
	return n.sorted
}
