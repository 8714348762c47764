//go:build linux

package collect

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Those of each interface are in its message: describeSettings reads them. Those of "all" and
// "default" are from RTM_GETNETCONF, and from /proc what that does not have.
var fromFiles = []string{"ipv4/conf/all/arp_ignore", "ipv4/conf/all/arp_announce", "ipv6/conf/all/disable_ipv6"}

// The interfaces of RTM_GETNETCONF that are none: NETCONFA_IFINDEX_ALL and NETCONFA_IFINDEX_DEFAULT.
var settingsOfAll = map[int32]string{-1: "all", -2: "default"}

// Attributes of RTM_GETNETCONF.
const (
	netconfIndex      = 1
	netconfForwarding = 2
	netconfRPFilter   = 3
	netconfProxy      = 5
)

// readSysctls reads those of the thread's namespace; a kernel without IPv6 has fewer.
func (r *reader) readSysctls() error {
	for _, name := range fromFiles {
		if data, err := os.ReadFile("/proc/sys/net/" + name); err == nil {
			r.ns.Sysctls["net."+strings.ReplaceAll(name, "/", ".")] = strings.TrimSpace(string(data))
		}
	}
	for family, names := range map[uint8]map[uint16]string{
		unix.AF_INET:  {netconfForwarding: "forwarding", netconfRPFilter: "rp_filter", netconfProxy: "proxy_arp"},
		unix.AF_INET6: {netconfForwarding: "forwarding", netconfProxy: "proxy_ndp"},
	} {
		if err := r.readNetconf(family, names); err != nil {
			return err
		}
	}
	if all := r.ns.SysctlOf("ipv4", "all", "forwarding"); all != "" {
		r.ns.Sysctls["net.ipv4.ip_forward"] = all // another name of the same
	}
	return nil
}

// netconfMessage is struct netconfmsg of the kernel, aligned.
type netconfMessage uint8

func (netconfMessage) Len() int { return unix.SizeofRtAttr }

func (m netconfMessage) Serialize() []byte { return []byte{byte(m), 0, 0, 0} }

func (r *reader) readNetconf(family uint8, names map[uint16]string) error {
	messages, err := r.dump(unix.RTM_GETNETCONF, netconfMessage(family))
	version := map[uint8]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6"}[family]
	for _, message := range messages {
		values := attributes(message[unix.SizeofRtAttr:]) // after struct netconfmsg, aligned
		of, wanted := settingsOfAll[number(values[netconfIndex])]
		for attribute, name := range names {
			if value, has := values[attribute]; has && wanted {
				r.ns.Sysctls[inspect.Sysctl(version, of, name)] = strconv.Itoa(int(number(value)))
			}
		}
	}
	return err
}

// number reads an attribute of four bytes; what is shorter is 0.
func number(value []byte) int32 {
	if len(value) < 4 {
		return 0
	}
	return int32(binary.NativeEndian.Uint32(value))
}
