package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ErrPeer is the error for another side that is not root, nor this process's own user.
var ErrPeer = errors.New("the other side of the socket is neither root nor this user")

// CheckPeer checks who is on the other side of a unix socket: the error is ErrPeer if it
// is neither root nor the user of this process.
func CheckPeer(conn net.Conn) error {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%w: it is no unix socket", ErrPeer)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if peerErr != nil {
		return fmt.Errorf("ask for the other side's credentials: %w", peerErr)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: it is user %d, process %d", ErrPeer, peer.Uid, peer.Pid)
	}
	return nil
}
