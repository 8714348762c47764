package host

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// NetNSID identifies a network namespace, in one boot. What is 0 is not known.
type NetNSID struct {
	// Inode differs between namespaces that exist at one time. The next may have it again.
	Inode uint64
	// Changed is the change time of the inode, in nanoseconds. The same inode of the same time
	// is the same namespace; the kernel may make the inode anew while the namespace lives.
	Changed int64
	// Cookie is of one namespace only, as long as the machine runs (Linux 5.14).
	Cookie uint64
}

// MayBe reports whether two identities can be of one namespace.
func (id NetNSID) MayBe(other NetNSID) bool {
	equal := func(a, b uint64) bool { return a == 0 || b == 0 || a == b }
	return equal(id.Inode, other.Inode) && equal(id.Cookie, other.Cookie)
}

// NetNS gives the inode that identifies the network namespace at path, and whether
// there is one: a file that is left over where a namespace was mounted is none. The inode
// is 0 where the path cannot be looked at, for another reason than that it is gone.
func NetNS(path string) (inode uint64, exists bool) {
	id, exists := fileOf(path)
	return id.Inode, exists
}

// IdentifyNetNS is NetNS with all that is known of the namespace.
func IdentifyNetNS(path string) (id NetNSID, exists bool) {
	id, exists = fileOf(path)
	if id.Inode != 0 {
		id.Cookie = netNSCookie(path)
	}
	return id, exists
}

// fileOf gives what the file of a namespace says of it.
//
// ns.IsNSorErr of the CNI plugins takes any file of /proc for a namespace, and does not
// say which error it saw.
func fileOf(path string) (id NetNSID, exists bool) {
	if path == "" {
		return id, false
	}
	var fs unix.Statfs_t
	var stat unix.Stat_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type != unix.NSFS_MAGIC {
		return id, false
	}
	if err == nil {
		err = unix.Stat(path, &stat)
	}
	if gone(err) {
		return id, false
	}
	if err != nil {
		return id, true // it says nothing: what may live is not released
	}
	return NetNSID{Inode: stat.Ino, Changed: stat.Ctim.Nano()}, true
}

func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH)
}

// NetNSLives reports whether the network namespace at path is still the one that was
// identified, as far as both are known. The kernel gives an inode to the next namespace as
// soon as it is free. The cookie tells them apart; it costs more than the times of the
// file, which are the same as long as the file stays mounted.
func NetNSLives(path string, id NetNSID) bool {
	now, exists := fileOf(path)
	if !exists || !now.MayBe(id) {
		return false
	}
	if id.Cookie == 0 || now.Inode == 0 || now.Changed == id.Changed {
		return true
	}
	now.Cookie = netNSCookie(path)
	return now.MayBe(id)
}

// NetNSMayLive reports whether an identified network namespace lives, as far as can be told
// from here: it may be hidden.
func NetNSMayLive(path string, id NetNSID, mountNS uint64) bool {
	return NetNSLives(path, id) || NetNSHidden(path, id, mountNS)
}

// netNSCookie gives the number that the kernel gives to no other network namespace until
// it ends; 0 if it is not known, as before Linux 5.14, and without CAP_SYS_ADMIN.
func netNSCookie(path string) uint64 {
	answer := make(chan uint64)
	go func() {
		runtime.LockOSThread()
		cookie, restored := cookieInside(path)
		if restored {
			runtime.UnlockOSThread() // else the thread ends with this function
		}
		answer <- cookie
	}()
	return <-answer
}

// cookieInside enters the namespace, where the socket must be made, and leaves it again.
func cookieInside(path string) (cookie uint64, restored bool) {
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, true
	}
	defer func() { _ = unix.Close(own) }()
	namespace, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, true
	}
	defer func() { _ = unix.Close(namespace) }()
	if unix.Setns(namespace, unix.CLONE_NEWNET) != nil {
		return 0, true
	}
	cookie = cookieHere()
	return cookie, unix.Setns(own, unix.CLONE_NEWNET) == nil
}

// cookieHere gives the cookie of this thread's namespace.
func cookieHere() uint64 {
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(socket) }()
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return cookie
}
