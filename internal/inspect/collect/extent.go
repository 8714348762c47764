//go:build linux

package collect

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// read reads the node's own namespace first: with its interfaces, the kernel numbers the namespaces
// that they lead to. Then it reads in full what is asked for, and what that leads to.
func (c *collector) read() (err error) {
	if c.socket, err = newSocket(); err != nil {
		return err
	}
	if !c.options.Brief {
		c.ethtool = newEthtool()
	}
	node, err := c.namespace(c.opened[0], !c.options.Brief)
	if err != nil {
		return fmt.Errorf("the node's network namespace: %w", err)
	}
	c.snapshot.Namespaces = append(c.snapshot.Namespaces, *node)
	rest := slices.Clone(c.opened[1:])
	wanted := c.wanted()
	for !c.options.Brief && len(wanted) > 0 {
		wanted, rest = c.readAmong(rest, wanted)
	}
	for _, ns := range rest {
		c.add(ns, false)
	}
	return nil
}

// wanted gives the inodes of the namespaces to read in full.
func (c *collector) wanted() map[uint64]bool {
	wanted := map[uint64]bool{}
	for _, ns := range c.opened[1:] {
		if len(c.options.Only) == 0 || slices.ContainsFunc(c.options.Only, func(t inspect.Target) bool { return c.isWanted(t, ns) }) {
			wanted[ns.inode] = true
		}
	}
	return wanted
}

func (c *collector) isWanted(target inspect.Target, ns *opened) bool {
	if target.NetNS != "" && slices.Contains(ns.paths, inspect.CleanPath(target.NetNS)) || isOf(target, c.unrecorded[ns.inode]) {
		return true
	}
	return slices.ContainsFunc(c.snapshot.Records, func(r inspect.Record) bool { return r.Live && r.Inode == ns.inode && isOf(target, r.Sandbox) })
}

// readAmong reads those that are wanted in full, and gives those that their interfaces lead to, and
// the rest.
func (c *collector) readAmong(all []*opened, wanted map[uint64]bool) (next map[uint64]bool, rest []*opened) {
	next = map[uint64]bool{}
	for _, ns := range all {
		if !wanted[ns.inode] {
			rest = append(rest, ns)
			continue
		}
		for _, link := range c.add(ns, true) {
			if link.Link != nil {
				next[link.Link.Namespace] = true
			}
		}
	}
	for inode := range next {
		if !slices.ContainsFunc(rest, func(ns *opened) bool { return ns.inode == inode }) {
			delete(next, inode)
		}
	}
	return next, rest
}

// add reads a namespace, and gives its interfaces. What cannot be read is a note.
func (c *collector) add(ns *opened, whole bool) []inspect.Link {
	read, err := c.namespace(ns, whole)
	if err != nil {
		c.note(ns.title(), err)
		return nil
	}
	c.snapshot.Namespaces = append(c.snapshot.Namespaces, *read)
	return read.Links
}

var (
	errNotEntered = errors.New("only its interfaces and their addresses were read: to enter it takes the capability SYS_ADMIN")
	errNoNumber   = errors.New("no interface of the node leads to it, so it has to be entered: that takes the capability SYS_ADMIN")
	errNotAsked   = errors.New("to read its interfaces takes the capability NET_ADMIN, and SYS_ADMIN to enter it")
)

// namespace reads all of a namespace, or only its interfaces and their addresses: if no more is asked
// for, and if nobody may enter it.
func (c *collector) namespace(ns *opened, whole bool) (*inspect.Namespace, error) {
	if !whole {
		return c.brief(ns)
	}
	read, err := c.whole(ns)
	if !errors.Is(err, unix.EPERM) {
		return read, err
	}
	if read, err = c.brief(ns); err == nil {
		c.note(ns.title(), errNotEntered)
	}
	return read, err
}

// brief reads the interfaces and their addresses: from outside if the namespace has a number. It
// gives it none, for it changes nothing.
func (c *collector) brief(ns *opened) (*inspect.Namespace, error) {
	read := c.newNamespace(ns)
	read.Brief = true
	brief := func(r *reader) error {
		r.ns, read.Links = read, []inspect.Link{}
		err := errors.Join(r.readLinks(), r.readAddresses())
		c.resolve(r)
		c.devices(read)
		return err
	}
	switch {
	case read.Host:
		return read, brief(&reader{socket: c.socket})
	case ns.number != noNumber:
		err := brief(&reader{socket: c.socket.of(ns.number)})
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			return read, err
		}
	}
	err := c.enter(ns, brief)
	switch {
	case !errors.Is(err, unix.EPERM):
		return read, err
	case ns.number == noNumber:
		return nil, errNoNumber
	}
	return nil, errNotAsked
}

// numbers gives the namespaces that the node's own has numbers for. It gets one for itself as soon as
// the kernel was asked about an interface of another that leads to it.
func (c *collector) numbers() map[int]uint64 {
	ask := c.opened
	if c.known == nil {
		c.known = map[int]uint64{}
	} else {
		ask = c.opened[:1]
	}
	for _, ns := range ask {
		if ns.number == noNumber {
			ns.number = c.socket.number(int(ns.handle))
		}
		if ns.number != noNumber {
			c.known[ns.number] = ns.inode
		}
	}
	return c.known
}
