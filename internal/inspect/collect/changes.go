//go:build linux

package collect

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fsnotify/fsnotify"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Changes says when something of the node may have changed: an interface or an address of the node
// or of a sandbox that an interface of the node leads to, a record of the journal, a namespace. Several
// changes are one, until they are read. It ends with the context.
func Changes(ctx context.Context, options Options) (<-chan struct{}, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the kernel's events: %w", err)
	}
	if err := unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("subscribe to the events of all namespaces: %w", err)
	}
	folders, err := watchFolders(options)
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _, _ = socket.Close(), folders.Close() })
	changes := make(chan struct{}, 1)
	go hear(ctx, socket, changes)
	go func() {
		for range folders.Events {
			signal(changes)
		}
	}()
	return changes, nil
}

// watchFolders watches those of the journal and of the namespaces, as far as they are there.
func watchFolders(options Options) (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the journal: %w", err)
	}
	for _, folder := range append([]string{options.StateDir}, options.NetNSDirs...) {
		if err := watcher.Add(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
			_ = watcher.Close()
			return nil, fmt.Errorf("watch %s: %w", folder, err)
		}
	}
	return watcher, nil
}

// hear waits for events. Whatever comes is a change, also that some were lost.
func hear(ctx context.Context, socket *nl.NetlinkSocket, changes chan<- struct{}) {
	for {
		_, _, err := socket.Receive()
		if ctx.Err() != nil || err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		signal(changes)
	}
}

func signal(changes chan<- struct{}) {
	select {
	case changes <- struct{}{}:
	default:
	}
}
