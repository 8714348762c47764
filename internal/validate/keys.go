package validate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// pluginKeys are the keys that a plugin reads, besides those that every plugin may have: of the
// reference plugins v1.9.1, and of plexus-sriov. A plugin that is not here is not examined.
var pluginKeys = map[string][]string{
	"bridge": {
		"bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "mtu", "hairpinMode", "promiscMode", "vlan", "vlanTrunk",
		"preserveDefaultVlan", "macspoofchk", "enabledad", "disableContainerInterface", "portIsolation", "mac",
	},
	"macvlan":     {"master", "mode", "mtu", "mac", "linkInContainer", "bcqueuelen"},
	"ipvlan":      {"master", "mode", "mtu", "linkInContainer"},
	"vlan":        {"master", "vlanId", "mtu", "linkInContainer"},
	"ptp":         {"ipMasq", "ipMasqBackend", "mtu"},
	"host-device": {"device", "hwaddr", "kernelpath", "pciBusID", "deviceID"},
	"tuning":      {"sysctl", "mac", "promisc", "mtu", "allmulti", "txQLen", "dataDir"},
	"portmap":     {"backend", "snat", "conditionsV4", "conditionsV6", "markMasqBit", "masqAll", "externalSetMarkChain"},
	"bandwidth":   {"ingressRate", "ingressBurst", "egressRate", "egressBurst"},
	"sbr":         {"table"},
	"vrf":         {"vrfname", "table"},
	"plexus-sriov": {
		"deviceID", "master", "stateDir", "mac", "vlan", "vlanQoS", "vlanProto", "spoofchk", "trust", "min_tx_rate", "max_tx_rate", "link_state",
		"infinibandGUID", "logLevel", "logFile",
	},
	"firewall": {"backend", "iptablesAdminChainName", "firewalldZone", "ingressPolicy"},
}

var ipamKeys = map[string][]string{
	"host-local": {"subnet", "rangeStart", "rangeEnd", "gateway", "ranges", "routes", "dataDir", "resolvConf"},
	"static":     {"addresses", "routes", "dns"},
	"dhcp":       {"daemonSocketPath", "request", "provide", "priority"},
	"whereabouts": {
		"range", "range_start", "range_end", "ipRanges", "exclude", "gateway", "routes", "addresses", "dns", "datastore", "etcd_host", "etcd_username",
		"etcd_password", "etcd_key_file", "etcd_cert_file", "etcd_ca_cert_file", "omitRange", "kubernetes", "log_file", "log_level", "reconciler_cron_expression",
		"overlapping_ranges", "enable_overlapping_ranges", "sleep_for_race", "leader_lease_duration", "leader_renew_deadline", "leader_retry_period",
		"configuration_path", "network_name", "node_slice_size", "optimistic_ipam",
	},
}

// everyKey are the keys that every plugin may have, and those of the list.
var everyKey = []string{"cniVersion", "name", "type", "ipam", "dns", "args", "capabilities", "runtimeConfig", "prevResult"}

// checkKeyNames finds keys of a plugin that are not its own, and nearly are: it ignores them.
func (r *run) checkKeyNames(n *network) {
	for _, plugin := range n.plugins() {
		kind := plugin.get("type").str()
		r.nearKeys(n, plugin.value, kind, pluginKeys[kind], everyKey)
		if ipam := plugin.get("ipam"); ipam != nil {
			kind := ipam.get("type").str()
			r.nearKeys(n, ipam, kind, ipamKeys[kind], []string{"type"})
		}
	}
}

func (r *run) nearKeys(n *network, v *value, kind string, own, shared []string) {
	if own == nil {
		return
	}
	known := slices.Concat(own, shared)
	for i := range v.members {
		m := &v.members[i]
		isKnown := slices.ContainsFunc(known, func(key string) bool { return strings.EqualFold(key, m.key) })
		near := types.NearestKey(m.key, known)
		if !isKnown && near != "" {
			r.add(ruleNearKey, n.object, n.config.place(m.at), field(""), fmt.Sprintf("key %s is none of %s's, which ignores it: did you mean %q?", quote(m.key), kind, near))
		}
	}
}
