//go:build linux

package collect

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var errNoNetAdmin = errors.New("its tables of netfilter and its BPF programs were not read: that takes the capability NET_ADMIN")

// readNetfilter names the tables. The error is errNoNetAdmin.
func (r *reader) readNetfilter() error {
	nft, err := nftTables()
	if errors.Is(err, unix.EPERM) {
		return errNoNetAdmin
	}
	r.ns.Netfilter.NFT = nft // another error is a kernel without nftables
	for _, family := range []string{"ip", "ip6"} {
		tables, err := legacyTables(family)
		if errors.Is(err, unix.EPERM) {
			return errNoNetAdmin
		}
		r.ns.Netfilter.Legacy = append(r.ns.Netfilter.Legacy, tables...)
	}
	return nil
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
