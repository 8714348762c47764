package inspect

// Catalogue has every kind of finding. docs/findings.md is made of it.
var Catalogue = []Entry{
	{
		"host-end-off-bridge", Error,
		"The host end of a pod's veth is on no bridge, and the bridge has the address of the pod's gateway, or is the one that the record names. Both ends are up. The host end answers ARP for the gateway, with its own MAC, so the pod thinks that it has one; nothing passes.",
		"Put the host end back with `ip link set VETH master BRIDGE`, and find out who took it off: often a network manager of the node that does not know the veth.",
		eachSubject(hostEndOffBridge),
	},
	{
		"interface-down", Error,
		"An interface that was attached to a pod is down. It has lost its routes, and setting it up does not bring back those that a plugin added, such as the default route.",
		"Set it up in the pod's namespace with `ip link set NAME up`, and add its routes again; or delete the pod, to have it attached anew.",
		eachSubject(interfaceDown),
	},
	{
		"no-carrier", Error,
		"An interface of a pod is up and has no carrier: nothing is at its other end, or its other end is down.",
		"Set the other end up; if there is none, delete the pod, to have it attached anew.",
		eachSubject(noCarrier),
	},
	{
		"parent-down", Error,
		"The parent of a pod's macvlan, ipvlan or VLAN interface is down, or has no carrier. Nothing leaves the node by it, and routes of the pod by it are dead.",
		"Set the parent up; if it is up, look at its cable, its switch, or the members of the bond.",
		eachSubject(parentDown),
	},
	{
		"bridge-down", Error,
		"The bridge to which a pod is connected is down. The pod does not notice: its own interface stays up, with carrier. The node has lost its route to the pod.",
		"Set the bridge up with `ip link set BRIDGE up`.",
		eachSubject(bridgeDown),
	},
	{
		"mtu-above-host-side", Error,
		"The MTU of a pod's interface is above that of its host end. The kernel drops what is larger without telling anybody: small packets pass, large ones vanish.",
		"Give both ends one MTU: set `mtu` in the network's configuration, or take it out of a `tuning` plugin.",
		eachSubject(mtuAboveHostSide),
	},
	{
		"mtu-above-bridge", Warning,
		"The MTU of a pod's interface is above that of its bridge, which has the smallest MTU of its ports if nobody set one. A packet between two pods is dropped if it is larger than the MTU of the port by which it leaves.",
		"Give all networks on one bridge one MTU.",
		eachSubject(mtuAboveBridge),
	},
	{
		"overlay-mtu", Error,
		"The MTU of a tunnel, as a VTEP, with what it adds to a packet, is above the MTU of the interface that its packets leave by. Small packets pass; large ones are dropped, or fragmented and lost on the way. A tunnel whose ends are given with each packet is left out: its MTU says nothing.",
		"Lower the MTU of the overlay in the configuration of the cluster's network, or raise that of the interface, and attach the pods anew.",
		overlayMTU,
	},
	{
		"vtep-fdb-missing", Error,
		"A VTEP that does not learn has a neighbour for another node, and no FDB entry for its MAC. The kernel does not know to which node it has to send: the packet is dropped, and the counter of dropped packets rises.",
		"Restart the agent of the cluster's network on this node: it writes the entry. `bridge fdb show dev VTEP` has those that there are.",
		missingFDB,
	},
	{
		"vtep-neighbour-missing", Error,
		"A VTEP that does not learn, and that floods nothing, has a route to another node's pods by a next hop whose MAC it does not know. Nobody answers the question for it: the kernel drops the packet after some seconds.",
		"Restart the agent of the cluster's network on this node: it writes the entry. `ip neigh show dev VTEP` has those that there are.",
		missingVTEPNeighbour,
	},
	{
		"interface-gone", Error,
		"The journal has an interface that was attached, and the pod has it no longer. That of a VF and of a vhost-user port is not missed: a program may drive it. Where its parent is deleted, the kernel deletes a macvlan, ipvlan or VLAN interface too.",
		"Delete the pod, to have it attached anew; find out who deleted the interface.",
		interfaceGone,
	},
	{
		"address-missing", Error,
		"The journal has an address that a pod's interface got, and the interface has it no longer.",
		"Delete the pod, to have it attached anew; find out who took the address away.",
		addressMissing,
	},
	{
		"route-missing", Error,
		"The journal has a route that a pod got, and the pod has none to there: in no table, by no interface. An interface that was set down and up again has lost the routes that a plugin added.",
		"Add it again, or delete the pod, to have it attached anew.",
		routeMissing,
	},
	{
		"duplicate-address", Error,
		"Two interfaces on one bridge, or on one parent, have the same address. Which of them gets a packet depends on who answered ARP last.",
		"Look for two networks with overlapping ranges and different names, for which `host-local` keeps separate lists, and for addresses that a pod asked for.",
		duplicateAddress,
	},
	{
		"gateway-unresolved", Warning,
		"A gateway of a pod does not answer ARP or neighbour discovery.",
		"Look whether anything has this address on that network. On a network without a gateway, take the gateway out of its configuration.",
		eachSubject(gatewayUnresolved),
	},
	{
		"gateway-wrong-mac", Error,
		"A pod's gateway is its bridge, or its host end, and the pod sends what is for the gateway to a MAC of neither: another pod answered ARP for its address, or somebody wrote it into the pod's table for good.",
		"Look whose the MAC is, and take the address away from there. `ip neigh flush dev NAME` in the pod makes it ask again.",
		eachSubject(gatewayWrongMAC),
	},
	{
		"proxy-arp-without-route", Error,
		"A pod's gateway is an address that nobody has, as with Calico: the host end answers for it by proxy ARP. The kernel does so only while the node has a route to that address, and there is none, not even a default route.",
		"Give the node a default route.",
		eachSubject(proxyARPWithoutRoute),
	},
	{
		"forwarding-off", Warning,
		"A pod's default route leads to the node, and the node does not forward what comes in there. Where the host end answers for the gateway by proxy ARP, as with Calico, it no longer even answers.",
		"Set the sysctl to 1 on the node, and look for who sets it to 0: a file in /etc/sysctl.d, or a firewall.",
		eachSubject(forwardingOff),
	},
	{
		"rp-filter-strict", Notice,
		"A pod with several networks filters strictly by the reverse path on an interface that is not the way back to everybody who can reach it: the pod's default route leaves by another. Requests from beyond the interface's own subnet arrive and are dropped; TcpExtIPReversePathFilter counts them. It is a notice as long as the counter is 0, for nobody may ever ask from there, and a warning if it is not. An interface in a VRF is left out: its filter asks the table of the VRF.",
		"Add a rule for the address, with a table in which the routes leave by the interface. The `sbr` plugin does so for a network; or set rp_filter to 2 by the `tuning` plugin.",
		eachSubject(strictFilter),
	},
	{
		"forward-drops-all", Error,
		"A chain drops all that a namespace forwards, by its policy: it has no rule that accepts. `nft` does not show one of legacy iptables, and `iptables-save` of one kind does not show the other.",
		"Let the chain accept, and find out who set its policy: Docker does, for one.",
		forwardDropsAll,
	},
	{
		"legacy-iptables", Warning,
		"A namespace has rules of legacy iptables beside tables of nftables: a packet has to pass both. `nft list ruleset` and `iptables-nft` show nothing of the legacy ones. It is a notice where there are no tables of nftables. The rules themselves are not judged.",
		"`iptables-legacy-save` shows them. Let all programs of the node use one of the two.",
		legacyTables,
	},
}
