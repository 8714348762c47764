package inspect

import (
	"fmt"
	"strings"
)

// Classic is a command with which people look at a network by hand, and what answers the same.
type Classic struct {
	Command string   // as it is typed in a namespace
	Asks    string   // the question that it is typed for
	Labels  []string // of the text of inspect, which have the answer; none for what it does not have
	Beyond  string   // what the command does not show, or where to look instead
}

// Classics are the commands that docs/debugging.md maps to ours.
var Classics = []Classic{
	{
		"ip netns list", "which namespaces are there, and whose are they?",
		[]string{"container", "namespace"},
		"Docker mounts namespaces where `ip netns` does not look, and no name of a file says whose it is. inspect finds them by the journal, by the folders of the runtime, or by `--netns`.",
	},
	{
		"brctl show; brctl showmacs BR", "is the host end on its bridge, and what has the bridge learned?",
		[]string{"peer", "bridge", "ports", "VLANs", "FDB"},
		"`brctl` knows neither VLANs nor ports that are isolated.",
	},
	{
		"ip link", "is it up, has it carrier, which MTU and MAC has it, what is at its other end?",
		[]string{"state", "peer", "parent", "master", "mode", "VLAN", "bond", "in bond", "tunnel", "device", "at the PF", "counters"},
		"`eth0@if5` says 5, and not in which namespace: several have an interface of that index. inspect names it.",
	},
	{
		"arp -n", "has the gateway answered, and is it the right one?",
		[]string{"neighbours", "bridge"},
		"The host end answers for the gateway, too, when it is off its bridge: [host-end-off-bridge](findings.md#host-end-off-bridge) and [gateway-wrong-mac](findings.md#gateway-wrong-mac) compare the MACs.",
	},
	{
		"route -n", "by which interface does a packet leave?",
		[]string{"routes", "rules", "table"},
		"`route -n` shows the main table alone: with the `sbr` plugin the routes of a network are in another one, and a pod seems to have none.",
	},
	{
		"ethtool -i, -k and -S eth0", "which driver is it, what does the hardware do, what was dropped?",
		[]string{"driver", "speed", "offloads", "counters", "qdisc", "peer qdisc"},
		"Counters of the driver's own (`-S`) are not read.",
	},
	{
		"tcpdump -ni eth0", "does the packet come here?",
		nil,
		"inspect watches no packet, [capture](capture.md) does. `packets` and `BPF` show what takes packets off an interface.",
	},
}

// ClassicsTable gives the table of docs/debugging.md.
func ClassicsTable() string {
	var table strings.Builder
	table.WriteString("| by hand | the question | `kubectl-plexus inspect` answers in |\n|---|---|---|\n")
	for _, classic := range Classics {
		answer := "[`capture`](capture.md), [`path --probe`](path.md#send-a-probe)"
		if len(classic.Labels) > 0 {
			answer = "`" + strings.Join(classic.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", classic.Command, classic.Asks, answer)
	}
	for _, classic := range Classics {
		fmt.Fprintf(&table, "\n`%s`: %s\n", classic.Command, classic.Beyond)
	}
	return table.String()
}
