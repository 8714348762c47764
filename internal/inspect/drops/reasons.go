package drops

// reasons have a text each. A test compares their names with those of the kernel.
var reasons = map[string]meaning{
	"NOT_SPECIFIED": {
		"the kernel gives no reason here: often it is a blackhole route, a packet larger than the MTU of a veth's other end, or a copy that a bridge flooded to a port where nobody wants it",
		"Look at the function that dropped it, at `ip route show type blackhole`, and at the MTU of both ends of the veth.",
	},

	// Filters.
	"NETFILTER_DROP": {
		"a rule or a policy of netfilter dropped it",
		"Look for the rule whose counter rises, with `nft list ruleset` and `iptables-save -c` (and iptables-legacy-save) in that namespace; network policies end there too.",
	},
	"SOCKET_FILTER": {
		"a filter that the receiving program has on its socket did not let it pass",
		"Look at the program: `ss -0pb` and `ss -unb` show the filters of sockets.",
	},
	"SECURITY_HOOK": {
		"a security module, such as SELinux, forbids it",
		"Look for the denial in the node's audit log.",
	},
	"TC_INGRESS": {
		"a filter or an eBPF program of tc dropped it where it came in, as those of Cilium do",
		"Look at the filters with `tc filter show dev DEV ingress`; of Cilium, `cilium monitor --type drop` has the reason.",
	},
	"TC_EGRESS": {
		"a filter or an eBPF program of tc dropped it where it goes out, as those of Cilium do",
		"Look at the filters with `tc filter show dev DEV egress`; of Cilium, `cilium monitor --type drop` has the reason.",
	},
	"TC_CHAIN_NOTFOUND": {
		"a filter of tc sends it to a chain that is not there",
		"Look at the filters with `tc filter show dev DEV ingress`.",
	},
	"XDP": {
		"an XDP program of the interface dropped it",
		"Look at the program with `ip link show DEV` and `bpftool net`.",
	},
	"BPF_CGROUP_EGRESS": {
		"an eBPF program of the pod's cgroup dropped it",
		"Look at the programs with `bpftool cgroup tree`.",
	},
	"XFRM_POLICY": {
		"a policy of IPsec did not let it pass: it came, or would go, without the encryption that the policy asks for",
		"Look at `ip xfrm policy` and at the counters of `ip -s xfrm state` at both ends.",
	},
	"TAP_FILTER": {
		"the filter of a tap interface did not let it pass",
		"Look at the virtual machine or program that has the tap.",
	},

	// Routes and addresses.
	"IP_RPFILTER": {
		"the reverse path filter dropped it: the way back to its source goes by another interface than it came in by",
		"Give the namespace a route to the source by this interface, or set rp_filter of it to 2 (loose) or 0; the higher of `all` and the interface's own holds.",
	},
	"IP_INNOROUTES": {
		"it came in, and the namespace has no route to its destination",
		"Look at `ip rule` and `ip route get DESTINATION from SOURCE iif DEV` there.",
	},
	"IP_OUTNOROUTES": {
		"the sender's namespace has no route to its destination",
		"Look at `ip rule` and `ip route get DESTINATION` there.",
	},
	"IP_INADDRERRORS": {
		"it came in, and is for an address that is not of this namespace, which does not forward it: forwarding is off, or the route says unreachable",
		"Set net.ipv4.ip_forward (net.ipv6.conf.all.forwarding) to 1 where packets are forwarded, and look for an unreachable route.",
	},
	"IP_INVALID_SOURCE": {
		"its source is no address that a packet may come from, as one of multicast",
		"Look at the sender's addresses, and for a NAT on the way.",
	},
	"IP_LOCAL_SOURCE": {
		"its source is an address of the very namespace that it came in to",
		"Look for the address twice: in the sender, and in this namespace.",
	},
	"IP_LOCALNET": {
		"it has an address of 127.0.0.0/8 and came over a network",
		"Look for a DNAT rule to 127.0.0.1; only route_localnet lets that pass.",
	},
	"IP_INVALID_DEST": {
		"its destination is no address that it could be sent to, as 0.0.0.0 or a broadcast that is not accepted",
		"Look at the destination that the sender takes, and for a NAT on the way.",
	},
	"IP_INHDR": {
		"its IP header is wrong, or its TTL has ended: a loop of routes does that",
		"Look at its TTL hop by hop; if it falls to 0, two hops have routes that point to each other.",
	},
	"IP_NOPROTO": {
		"nothing in the receiver handles its IP protocol",
		"Find out who sends it; for a tunnel, its interface or module is missing at this end.",
	},
	"IPV6DISABLED": {
		"it is IPv6, and IPv6 is disabled at the interface",
		"Set net.ipv6.conf.DEV.disable_ipv6 to 0, if the pod is to have IPv6.",
	},
	"IPV6_BAD_EXTHDR": {
		"it has an extension header of IPv6 that cannot be read",
		"Capture it, and find out who sends that.",
	},

	// The link.
	"OTHERHOST": {
		"its destination MAC is not the interface's: it was flooded, or the sender has an old neighbour entry",
		"Compare the MAC with the sender's neighbour entry (`ip neigh`); an interface that was made anew has another MAC.",
	},
	"UNHANDLED_PROTO": {
		"nothing in this namespace handles its EtherType: it has a VLAN tag without a VLAN interface, or is of a protocol that is not used",
		"Look at its EtherType; for a VLAN, add the interface or take the tag off at the switch's port.",
	},
	"MAC_INVALID_SOURCE": {
		"its source MAC is no address of an interface: zero, or multicast",
		"Look at the MAC of the sender's interface.",
	},
	"LOCAL_MAC": {
		"it came through the tunnel with this interface's own MAC: two nodes have one MAC, or the overlay loops",
		"Compare the MACs of the tunnel's interfaces on all nodes.",
	},
	"BRIDGE_INGRESS_STP_STATE": {
		"the bridge's port does not forward yet, or is blocked",
		"Look at `bridge link show`: STP may still listen, or block a loop; turn STP off if the bridge has none.",
	},
	"UNICAST_IN_L2_MULTICAST": {
		"it was sent to one host's address in a frame for many",
		"Look at the sender's neighbour entry.",
	},
	"ARP_PVLAN_DISABLE": {
		"it would leave by the interface that it came in by, and that is not allowed there",
		"Look at hairpin and at proxy_arp_pvlan of the interface.",
	},
	"MAC_IEEE_MAC_CONTROL": {
		"it is a control frame of Ethernet, which a bridge does not forward",
		"Nothing, unless a pod is to have those frames.",
	},

	// Neighbours.
	"NEIGH_FAILED": {
		"nobody answered for the address of the next hop, by ARP or neighbour discovery",
		"Look at `ip neigh show dev DEV`, and at whether the next hop is on that link and has that address.",
	},
	"NEIGH_QUEUEFULL": {
		"too many packets wait for the MAC of the next hop, which nobody answers for",
		"Look at `ip neigh show dev DEV`, and at whether the next hop is on that link and has that address.",
	},
	"NEIGH_CREATEFAIL": {
		"the kernel could not make a neighbour entry: its table is full",
		"Raise net.ipv4.neigh.default.gc_thresh3 (net.ipv6 for IPv6) on the node.",
	},
	"NEIGH_DEAD": {
		"the neighbour entry of the next hop went away meanwhile",
		"Look at whether its interface is removed or set down over and over.",
	},
	"NEIGH_HH_FILLFAIL": {
		"the link-layer header could not be made",
		"Look at the type and the state of the interface.",
	},

	// Sizes.
	"PKT_TOO_BIG": {
		"it is larger than the MTU of the way on, and may not be cut into fragments",
		"Lower the MTU of the pod's interface to that of the narrowest hop, or raise that hop's; and let ICMP pass, which tells the sender.",
	},
	"FRAG_REASM_TIMEOUT": {
		"some of its fragments did not arrive in time",
		"Find out why it was cut, and where the others were lost: a filter often lets only the first pass.",
	},
	"DUP_FRAG": {
		"it is a fragment that came twice",
		"Look for a loop or a doubled link.",
	},
	"SKB_GSO_SEG": {
		"it could not be cut into segments for the interface",
		"Look at the offloads of the interface with `ethtool -k DEV`.",
	},
	"PKT_TOO_SMALL": {
		"it is shorter than its headers say",
		"Capture it where it leaves, and find out who cuts it.",
	},
	"HDR_TRUNC": {
		"it ends within its headers",
		"Capture it where it leaves, and find out who cuts it.",
	},

	// Tunnels.
	"NO_TX_TARGET": {
		"the VXLAN interface does not know to which node it should go: its FDB has no entry for the destination MAC; or the bridge has no port to send it by",
		"Restart the agent of the cluster's network on this node, which writes the entry of a VXLAN interface; `bridge fdb show dev DEV` has those that there are, and `bridge link` the ports.",
	},
	"VXLAN_VNI_NOT_FOUND": {
		"it came through VXLAN with a VNI that no interface of this node has",
		"Compare the VNI of the VXLAN interfaces of both nodes: `ip -d link show type vxlan`.",
	},
	"VXLAN_INVALID_HDR": {
		"its VXLAN header is wrong, or has flags that the interface does not know",
		"Look for something else at that UDP port, and for GBP or GPE at one end only: `ip -d link show type vxlan`.",
	},
	"VXLAN_ENTRY_EXISTS": {
		"its source MAC has a fixed FDB entry for another node",
		"Compare `bridge fdb show dev DEV` with the node that sends: the entry is old, or two nodes have one MAC.",
	},
	"TUNNEL_TXINFO": {
		"the tunnel takes its far end from each packet, and this one says none",
		"Nothing may route to that interface directly: only the program or switch that drives it.",
	},
	"IP_TUNNEL_ECN": {
		"its congestion marks within and outside of the tunnel contradict each other",
		"Look for a device of the underlay that overwrites them.",
	},
	"RECURSION_LIMIT": {
		"it went through one interface into the next too often: tunnels or stacked interfaces lead into each other",
		"Look at the route to the tunnel's far end: it must not go by the tunnel itself.",
	},

	// Queues and memory.
	"QDISC_DROP": {
		"the queueing discipline dropped it: a limit of bandwidth, or a full queue",
		"Look at the counters of `tc -s qdisc show dev DEV`; a pod's limit is in its bandwidth annotations.",
	},
	"QDISC_OVERLIMIT": {
		"the queue of the interface is full",
		"Look at the counters of `tc -s qdisc show dev DEV`; a pod's limit is in its bandwidth annotations.",
	},
	"QDISC_CONGESTED": {
		"the queueing discipline dropped it to slow its sender down",
		"Nothing, if it is rare; else look at `tc -s qdisc show dev DEV`.",
	},
	"CPU_BACKLOG": {
		"a CPU of the node has too many packets waiting",
		"Look at the second column of /proc/net/softnet_stat; raise net.core.netdev_max_backlog, or spread the load over more CPUs.",
	},
	"FULL_RING": {
		"the ring of the receiver, a tap or a packet socket, is full: its program does not read fast enough",
		"Look at the virtual machine or program behind it.",
	},
	"SOCKET_RCVBUFF": {
		"the receiving program's buffer is full: it does not read fast enough",
		"Look at the Recv-Q of `ss -unap` in the pod; raise the buffer or the speed of the program.",
	},
	"SOCKET_BACKLOG": {
		"too much waits for the receiving socket while its program is busy with it",
		"Look at the load of the receiving program.",
	},
	"PROTO_MEM": {
		"TCP or UDP has used up the memory that the node gives it",
		"Look at /proc/net/sockstat, and at net.ipv4.tcp_mem and net.ipv4.udp_mem.",
	},
	"NOMEM": {
		"the kernel has no memory for it",
		"Look at the node's memory.",
	},
	"PFMEMALLOC": {
		"the node is so short of memory that it takes only packets that free some",
		"Look at the node's memory.",
	},
	"QUEUE_PURGE": {
		"it waited in a queue that was emptied, as its socket or interface went away",
		"Nothing, unless the interface should have stayed.",
	},
	"DEV_READY": {
		"the interface is down, or not ready to send",
		"Look at `ip link show DEV`, and set it up.",
	},
	"DEV_HDR": {
		"the interface could not make its header for it",
		"Look at the type and the state of the interface.",
	},
	"INVALID_PROTO": {
		"its protocol is not one that it could be here",
		"Capture it, and find out who sends that.",
	},
	"PACKET_SOCK_ERROR": {
		"the copy for a program that captures was lost, and not the packet",
		"Nothing: give the capture a larger buffer.",
	},

	// The receiver.
	"NO_SOCKET": {
		"nothing in the receiving namespace has a socket for it: no program listens at that port or, for a tunnel's packet, its interface is missing or down",
		"Look at `ss -tulnp` in the receiving pod; for a tunnel, at whether its interface is there and up, with that port.",
	},
	"SOCKET_CLOSE": {
		"the receiving program closed its socket meanwhile",
		"Look at whether the program restarts.",
	},
	"IP_CSUM":   {"the checksum of its IP header is wrong", "Look for a device on the way that changes packets."},
	"ICMP_CSUM": {"the checksum of ICMP is wrong", "Look for a device on the way that changes packets."},
	"UDP_CSUM": {
		"the checksum of UDP is wrong, as if a NIC had not filled it in",
		"Try `ethtool -K DEV tx-checksum-ip-generic off` at the tunnel's interface of the sender: offloads of VXLAN are often at fault.",
	},
	"TCP_CSUM": {
		"the checksum of TCP is wrong, as if a NIC had not filled it in",
		"Try `ethtool -K DEV tx-checksum-ip-generic off` at the tunnel's interface of the sender: offloads of VXLAN are often at fault.",
	},
	"SKB_CSUM": {
		"its checksum could not be made for the interface",
		"Look at the offloads of the interface with `ethtool -k DEV`.",
	},
	"TCP_FLAGS": {
		"its TCP flags do not fit the state of the connection",
		"Look for a NAT or load balancer that sends a connection to another pod than before.",
	},
	"TCP_LISTEN_OVERFLOW": {
		"the program has too many connections that it did not accept yet",
		"Look at the Recv-Q of `ss -tln` in the receiving pod; raise net.core.somaxconn and the program's backlog.",
	},
	"TCP_RESET": {
		"it ended the connection, as it should",
		"Look at who sent the RST, and why.",
	},
	"TCP_CLOSE": {
		"the connection is closed already",
		"Nothing, if it came late; else look at who closed it.",
	},
	"TCP_OLD_DATA": {
		"the receiver has its data already: it was sent again",
		"Nothing: the loss or delay that made the sender repeat it is what to look for.",
	},
	"TCP_MINTTL": {
		"its TTL is lower than the receiving program accepts",
		"Look at the program's setting, and at how many hops there are.",
	},
}
