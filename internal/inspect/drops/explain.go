package drops

import "strings"

// meaning is what a reason means for a packet of a pod, as a clause, and what to do about it.
type meaning struct{ text, do string }

// Explain says what one of the kernel's reasons means for a packet of a pod, and what to do about it.
func Explain(reason string) (text, do string) {
	if m, found := reasons[reason]; found {
		return m.text, m.do
	}
	for _, group := range groups {
		if strings.HasPrefix(reason, group.prefix) {
			return group.text, group.do
		}
	}
	return "a reason that has no text here", "Look for SKB_DROP_REASON_" + reason + " in include/net/dropreason-core.h of this kernel's source: each has a comment."
}

// groups are of reasons that have no text of their own.
var groups = []struct {
	prefix string
	meaning
}{
	{"TCP_", meaning{
		"TCP of the receiver did not accept it: its flags, numbers or options do not fit the connection",
		"Look at the connection with `ss -tin` at both ends, and for a NAT or load balancer between them that lost its state.",
	}},
	{"IPV6_NDISC_", meaning{
		"it is a message of neighbour discovery that is malformed, or that came from beyond the link",
		"Capture the neighbour discovery of the link with the filter `icmp6`, and find out who sends that.",
	}},
	{"VXLAN_", meaning{
		"the VXLAN interface did not accept what came through the tunnel",
		"Compare the VNI, the port and the FDB of the interface with those of the other node: `ip -d link show DEV`, `bridge fdb show dev DEV`.",
	}},
	{"FRAG_", meaning{
		"it is a fragment whose packet could not be put together",
		"Find out why it was cut: a hop has a smaller MTU than the sender's interface.",
	}},
	{"OPENVSWITCH_", meaning{
		"a flow, a meter or a missing flow of Open vSwitch dropped it",
		"Look at the flows of the bridge with `ovs-ofctl dump-flows BRIDGE`, and trace the packet with `ovs-appctl ofproto/trace`.",
	}},
	{"MAC80211_", meaning{"the wireless network dropped it", "Look at the wireless interface with `iw dev`."}},
	{"FQ_", meaning{
		"the queueing discipline fq had no place for it",
		"Look at the queue with `tc -s qdisc show dev DEV`.",
	}},
}
