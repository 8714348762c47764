//go:build linux

package collect

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket asks the kernel about the namespace that it was made in or, with a target, about another
// one, which nobody enters for it. That takes NET_ADMIN.
type socket struct {
	*nl.SocketHandle
	target *uint32 // the number by which the socket's namespace knows the other one
}

// newSocket makes one in the thread's namespace. Its requests are checked strictly: else the kernel
// passes over the target of a request for addresses, and gives those of the socket's own namespace.
func newSocket() (*socket, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("a socket of netlink: %w", err)
	}
	if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("a socket of netlink: %w", err)
	}
	return &socket{SocketHandle: &nl.SocketHandle{Socket: s}}, nil
}

// of gives the same socket for questions about another namespace.
func (s *socket) of(number int) *socket {
	target := uint32(number)
	return &socket{SocketHandle: s.SocketHandle, target: &target}
}

// Attributes of a request that names the namespace that it is about.
var targetAttributes = map[int]int{unix.RTM_GETLINK: unix.IFLA_TARGET_NETNSID, unix.RTM_GETADDR: 10 /* IFA_TARGET_NETNSID */}

// dump asks for a list. The kernel's numbers of an object are four in a row: new, del, get, set.
func (s *socket) dump(kind int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	return dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
		request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: s.SocketHandle}
		for _, part := range parts {
			request.AddData(part)
		}
		if s.target != nil {
			request.AddData(nl.NewRtAttr(targetAttributes[kind], nl.Uint32Attr(*s.target)))
		}
		return request.Execute(unix.NETLINK_ROUTE, uint16(kind&^3))
	})
}

// Attributes of RTM_GETNSID.
const (
	netnsNumber = 1
	netnsFile   = 3
)

// noNumber is the number of a namespace that no interface leads to, and nobody gave one.
const noNumber = -1

// number gives the number by which the socket's namespace knows another one.
func (s *socket) number(file int) int {
	request := nl.NewNetlinkRequest(unix.RTM_GETNSID, unix.NLM_F_REQUEST)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: s.SocketHandle}
	request.AddData(nl.NewRtGenMsg())
	request.AddData(nl.NewRtAttr(netnsFile, nl.Uint32Attr(uint32(file))))
	messages, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	if err != nil || len(messages) == 0 || len(messages[0]) < unix.SizeofRtAttr {
		return noNumber
	}
	value, found := attributes(messages[0][unix.SizeofRtAttr:])[netnsNumber] // after struct rtgenmsg, aligned
	if !found || len(value) < 4 {
		return noNumber
	}
	return int(int32(binary.NativeEndian.Uint32(value)))
}
