//go:build linux

// Package collect reads a Snapshot from the node that it runs on, as root. It changes nothing.
package collect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// Options say where to look.
type Options struct {
	// Root is where the node's folders are for this process, as "/host" in a window pod; "" where they
	// are in their own place. All other paths, and those of the Snapshot, are the node's own.
	Root      string
	StateDir  string   // of the journal
	NetNSDirs []string // folders in which runtimes mount namespaces
	NetNS     []string // namespaces besides
	Brief     bool     // of each namespace only the interfaces and their addresses
	// Only are what is read in full, with what its interfaces lead to and the node's own namespace;
	// all other namespaces are read as with Brief. None are all.
	Only   []inspect.Target
	Sysfs  sriov.Sysfs
	RunDir string // in which runtimes keep their state; "" is /run
	// ConfDir is the runtime's folder of CNI configurations. With CNI, it and what it names are read too.
	ConfDir    string
	CNI        bool
	CNIPath    []string // more folders of plugins
	WithConfig bool     // adds the configurations, with masked secrets
}

// DefaultNetNSDirs are the folders of containerd, CRI-O and podman, and of Docker.
var DefaultNetNSDirs = []string{"/run/netns", "/var/run/docker/netns"}

// collector reads one Snapshot.
type collector struct {
	options    Options
	snapshot   *inspect.Snapshot
	socket     *socket
	ethtool    *ethtool
	opened     []*opened                  // the node's own is the first
	unrecorded map[uint64]inspect.Sandbox // by inode: those that only a runtime knows
	known      map[int]uint64             // the namespaces that the node's own has numbers for
}

// opened is a namespace that is held open, so that it cannot become another one meanwhile.
type opened struct {
	handle netns.NsHandle
	inode  uint64
	paths  []string
	number int // by which the node's own knows it
}

// title names a namespace in a note.
func (o *opened) title() string {
	if len(o.paths) == 0 {
		return "the node"
	}
	return o.paths[0]
}

// Node reads the node. What cannot be read of it is a note of the Snapshot, except for the
// node's own namespace. It must run on a thread of the node's namespaces.
func Node(options Options) (*inspect.Snapshot, error) {
	c := &collector{options: options, snapshot: inspect.New()}
	defer c.close()
	c.snapshot.Machine = machine()
	c.readJournal()
	c.snapshot.Agent = serves(types.DefaultAgentSocket)
	if err := c.openHost(); err != nil {
		return nil, err
	}
	c.searchRuntimes()
	c.openSandboxes()
	if err := c.read(); err != nil {
		return nil, err
	}
	c.locate()
	c.namePrograms()
	if options.CNI {
		c.readCNI()
	}
	return c.snapshot, nil
}

func (c *collector) close() {
	for _, ns := range c.opened {
		_ = ns.handle.Close()
	}
	if c.socket != nil {
		_ = c.socket.Close()
	}
}

func (c *collector) note(about string, err error) {
	c.snapshot.Notes = append(c.snapshot.Notes, inspect.Note{About: about, Text: err.Error()})
}

func machine() inspect.Machine {
	m := inspect.Machine{Taken: time.Now().UTC().Truncate(time.Second)}
	m.Hostname, _ = os.Hostname()
	m.BootID, _ = host.BootID()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

func (c *collector) openHost() error {
	handle, err := netns.Get()
	if err != nil {
		return fmt.Errorf("the node's network namespace: %w", err)
	}
	return c.hold(handle, "")
}

// hold keeps a namespace, or only its path if it is there already.
func (c *collector) hold(handle netns.NsHandle, path string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(handle), &stat); err != nil {
		_ = handle.Close()
		return err
	}
	known := slices.IndexFunc(c.opened, func(ns *opened) bool { return ns.inode == stat.Ino })
	if known < 0 {
		c.opened = append(c.opened, &opened{handle: handle, inode: stat.Ino, number: noNumber})
		known = len(c.opened) - 1
	} else {
		_ = handle.Close()
	}
	if path != "" {
		c.opened[known].paths = append(c.opened[known].paths, path)
	}
	return nil
}

// openSandboxes opens the namespaces that the options and the journal name.
func (c *collector) openSandboxes() {
	for _, path := range c.paths() {
		if _, exists := host.NetNS(c.options.at(path)); !exists {
			c.noteNone(path)
			continue
		}
		handle, err := netns.GetFromPath(c.options.at(path))
		if errors.Is(err, fs.ErrNotExist) {
			c.note(path, errors.New("it went away meanwhile"))
			continue
		}
		if err == nil {
			err = c.hold(handle, path)
		}
		if err != nil {
			c.note(path, err)
		}
	}
}

// noteNone says of a path that was asked for why it is no namespace.
func (c *collector) noteNone(path string) {
	if !slices.ContainsFunc(c.options.NetNS, func(named string) bool { return inspect.CleanPath(named) == path }) {
		return
	}
	if _, err := os.Lstat(c.options.at(path)); err != nil {
		c.note(path, errors.New("there is no such file"))
		return
	}
	c.note(path, errors.New("this file is no network namespace"))
}

// paths gives the paths of all namespaces, each once.
func (c *collector) paths() []string {
	paths := slices.Clone(c.options.NetNS)
	for _, record := range c.snapshot.Records {
		if record.Live {
			paths = append(paths, record.Path)
		}
	}
	for _, dir := range c.options.NetNSDirs {
		entries, err := os.ReadDir(c.options.at(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.note(dir, err)
		}
		for _, entry := range entries {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	for i, path := range paths {
		paths[i] = inspect.CleanPath(path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// locate says of each namespace whose it is.
func (c *collector) locate() {
	for i := range c.snapshot.Namespaces {
		ns := &c.snapshot.Namespaces[i]
		if sandbox, found := c.unrecorded[ns.Inode]; found {
			ns.Sandbox = &sandbox
		}
		for _, record := range c.snapshot.Records {
			if record.Live && record.Inode == ns.Inode && !ns.Host {
				sandbox := record.Sandbox
				ns.Sandbox = &sandbox
			}
		}
	}
	slices.SortStableFunc(c.snapshot.Namespaces, func(a, b inspect.Namespace) int {
		return cmp.Compare(order(a), order(b))
	})
}

// order puts the node first, and the others in the order of their paths.
func order(ns inspect.Namespace) string {
	if ns.Host || len(ns.Paths) == 0 {
		return ""
	}
	return ns.Paths[0]
}
