//go:build linux

package collect

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

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
