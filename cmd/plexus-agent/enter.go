package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enteredVariable keeps a command that has entered the host from doing it again.
const enteredVariable = "PLEXUS_AGENT_ENTERED_HOST"

// enterHost runs this command again in the network and mount namespaces of the host's first process.
// A container must share the host's PID namespace for this, and be privileged.
func enterHost() error {
	if os.Getenv(enteredVariable) != "" {
		return nil
	}
	if err := hostIsVisible("/proc"); err != nil {
		return fmt.Errorf("enter the host: %w", err)
	}
	runtime.LockOSThread() // what follows is of a thread, and the new program inherits this one's
	if err := setHostNamespaces(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the host: %w: the container must be privileged", err)
	}
	// The link leads to the file itself, which has no name on the host.
	err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), enteredVariable+"=1"))
	return fmt.Errorf("enter the host: run this command there: %w", err)
}

// hostIsVisible gives an error where process 1 is the container's own: uninstall would find
// nothing to remove in there, and call that a success.
func hostIsVisible(proc string) error {
	theirs, err := os.Readlink(proc + "/1/ns/mnt")
	if err != nil {
		return fmt.Errorf("%w: the container must be privileged", err)
	}
	ours, err := os.Readlink(proc + "/self/ns/mnt")
	if err == nil && ours == theirs {
		err = errors.New("process 1 is this container's own: it must have the host's PID namespace (hostPID)")
	}
	return err
}

// isNode gives an error where a folder that every node has is not there: process 1 is that of
// the pod, whose containers share a PID namespace.
func isNode(confDir string) error {
	if info, err := os.Stat(confDir); err != nil || !info.IsDir() {
		return fmt.Errorf("enter the host: there is no %s where process 1 is, so it is not the host's: the container must have the host's PID namespace (hostPID), and --conf-dir be the runtime's folder", confDir)
	}
	return nil
}

func setHostNamespaces() error {
	mount, err := os.Open("/proc/1/ns/mnt")
	if err != nil {
		return err
	}
	defer mount.Close()
	network, err := os.Open("/proc/1/ns/net")
	if err != nil {
		return err
	}
	defer network.Close()
	// A thread that shares its root and working folder cannot change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(mount.Fd()), unix.CLONE_NEWNS))
}
