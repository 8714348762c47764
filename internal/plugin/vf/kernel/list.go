package kernel

import (
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// links gives the interfaces of a namespace. Package netlink has room for 64 kB in one message, and
// fails where there is more: a pod that gives an interface some hundred alternative names would keep
// its VF for ever, or blind everyone on the host once its namespace is gone.
func links(ns string) ([]netlink.Link, error) {
	links, err := host.Retried(netlink.ErrDumpInterrupted, func() (links []netlink.Link, err error) {
		err = onThreadIn(ns, func() error {
			links, err = dumpLinks()
			return err
		})
		return links, err
	})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return links, nil
}

const withoutStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS

// dumpLinks gives the interfaces of the thread's namespace.
func dumpLinks() ([]netlink.Link, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(socket) }()
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	// Only where a filter is given does the kernel make room for the largest.
	request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(withoutStatistics)))
	if err := unix.Sendto(socket, request.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var links []netlink.Link
	interrupted := false
	for {
		messages, err := receive(socket)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := errorIn(&m); err != nil || !interrupted {
					return links, err
				}
				return nil, netlink.ErrDumpInterrupted
			}
			link, err := netlink.LinkDeserialize(nil, m.Data)
			if err != nil {
				return nil, err
			}
			links = append(links, link)
		}
	}
}

// receive gives the messages of the kernel's next answer, whatever its size.
func receive(socket int) ([]syscall.NetlinkMessage, error) {
	size, _, err := unix.Recvfrom(socket, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, _, err = unix.Recvfrom(socket, data, 0); err != nil {
		return nil, err
	}
	return syscall.ParseNetlinkMessage(data)
}

// errorIn gives the error that the kernel's last message says, nil if it says none.
func errorIn(m *syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil
	}
	if number := int32(nl.NativeEndian().Uint32(m.Data)); number < 0 { //nolint:gosec // a negative number
		return unix.Errno(-number)
	}
	return nil
}
