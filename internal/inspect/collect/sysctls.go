//go:build linux

package collect

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// perInterface are the settings that each interface has, "all" and "default" too.
var perInterface = []string{"ipv4/%/forwarding", "ipv4/%/rp_filter", "ipv4/%/proxy_arp", "ipv6/%/forwarding", "ipv6/%/disable_ipv6"}

// readSysctls reads those of the thread's namespace; a kernel without IPv6 has fewer.
func (r *reader) readSysctls() {
	r.ns.Sysctls = map[string]string{}
	names := []string{"all", "default"}
	for i := range r.ns.Links {
		names = append(names, r.ns.Links[i].Name)
	}
	for _, name := range names {
		for _, setting := range perInterface {
			path := strings.Replace(setting, "%", "conf/"+name, 1)
			if data, err := os.ReadFile("/proc/sys/net/" + path); err == nil {
				r.ns.Sysctls[inspect.Sysctl(strings.Split(setting, "/")[0], name, filepath.Base(setting))] = strings.TrimSpace(string(data))
			}
		}
	}
}

// readNetfilter names the tables.
func (r *reader) readNetfilter() {
	r.ns.Netfilter.Legacy = append(legacyTables("ip"), legacyTables("ip6")...)
	r.ns.Netfilter.NFT, _ = nftTables() // an error is a kernel without nftables
}

// nftTables gives the tables of nftables in the thread's namespace.
func nftTables() ([]string, error) {
	messages, err := dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP)
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
		return request.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE)
	})
	var tables []string
	for _, message := range messages {
		attrs, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
		if err != nil {
			continue
		}
		for _, attr := range attrs {
			if attr.Attr.Type == unix.NFTA_TABLE_NAME {
				tables = append(tables, nftFamily(message[0])+" "+unix.ByteSliceToString(attr.Value))
			}
		}
	}
	return tables, err
}

func nftFamily(number byte) string {
	names := map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6"}
	return names[number]
}
