package kube

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// port is a free TCP port that stays reserved until it is released: a socket is bound to it
// with SO_REUSEPORT and never listens. A server that shares the port (which etcd and
// kube-apiserver do when told) gets every connection; while none runs, connections are refused,
// and no other process can take the port.
type port struct {
	netip.AddrPort
	fd int
}

// reservePort reserves a port of an IPv4 address of this machine, a free one if it is 0.
func reservePort(addr netip.AddrPort) (_ *port, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("reserve port %s: %w", addr, retErr)
		}
	}()
	if !addr.Addr().Is4() {
		return nil, fmt.Errorf("not an IPv4 address")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	n, err := bind(fd, addr)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &port{netip.AddrPortFrom(addr.Addr(), n), fd}, nil
}

func bind(fd int, addr netip.AddrPort) (uint16, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return uint16(name.(*unix.SockaddrInet4).Port), nil
}

// release gives the port back. A nil port has nothing to give.
func (p *port) release() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}
