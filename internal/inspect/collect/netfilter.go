//go:build linux

package collect

import (
	"encoding/binary"
	"errors"
	"slices"

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
	r.readClosed()
	for _, family := range []string{"ip", "ip6"} {
		if err := r.readLegacy(family); errors.Is(err, unix.EPERM) {
			return errNoNetAdmin
		}
	}
	return nil
}

// nfDrop is NF_DROP of the kernel.
const nfDrop = 0

// nftTables gives the tables of nftables in the thread's namespace.
func nftTables() ([]string, error) {
	messages, err := nftDump(unix.NFT_MSG_GETTABLE, unix.NFT_MSG_NEWTABLE)
	var tables []string
	for _, message := range messages {
		name := unix.ByteSliceToString(attributes(message[nl.SizeofNfgenmsg:])[unix.NFTA_TABLE_NAME])
		tables = append(tables, nftFamily(message[0])+" "+name)
	}
	slices.Sort(tables) // the kernel has them in the order of their making
	return tables, err
}

func nftDump(kind, answer int) ([][]byte, error) {
	return dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP)
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
		return request.Execute(unix.NETLINK_NETFILTER, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|answer))
	})
}

// readClosed finds the chains of nftables that drop all that is forwarded.
func (r *reader) readClosed() {
	chains, _ := nftDump(unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_NEWCHAIN)
	for _, chain := range chains {
		all := attributes(chain[nl.SizeofNfgenmsg:])
		hook, isBase := attributes(all[unix.NFTA_CHAIN_HOOK])[unix.NFTA_HOOK_HOOKNUM]
		family := nftFamily(chain[0])
		if !isBase || family == "netdev" || bigEndian(hook) != unix.NF_INET_FORWARD || bigEndian(all[unix.NFTA_CHAIN_POLICY]) != nfDrop {
			continue
		}
		if _, has := all[unix.NFTA_CHAIN_POLICY]; has && bigEndian(all[unix.NFTA_CHAIN_USE]) == 0 {
			r.ns.Netfilter.Closed = append(r.ns.Netfilter.Closed,
				"nft "+family+" "+unix.ByteSliceToString(all[unix.NFTA_CHAIN_TABLE])+" "+unix.ByteSliceToString(all[unix.NFTA_CHAIN_NAME]))
		}
	}
}

// bigEndian reads a number of netfilter; what is shorter is 0.
func bigEndian(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func nftFamily(number byte) string {
	names := map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6"}
	return names[number]
}
