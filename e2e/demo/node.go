package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	runDir   = "/run"
	baseName = "plexus-demo"
	mostKept = 9
)

// private are the folders of the machine that plugins write to, each with the folder of a node
// that takes its place for them.
var private = [][2]string{{"/var/lib/cni", "lib"}, {"/run/cni", "run"}}

// node is a node with one pod: two network namespaces and a folder, all called after it.
type node struct {
	name string
	dir  string
	lock *os.File // held while a demo works on it
}

func newNode(n int) *node {
	name := baseName
	if n > 1 {
		name = fmt.Sprintf("%s-%d", baseName, n)
	}
	return &node{name: name, dir: filepath.Join(runDir, name)}
}

func (n *node) host() string { return n.name + "-host" }
func (n *node) pod() string  { return n.name + "-web" }

func (n *node) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}

// claim gives a node that nobody uses, and those that were left standing on purpose. What a
// killed run left is removed first.
func claim() (*node, []*node, error) {
	var kept []*node
	for i := 1; i <= mostKept; i++ {
		n := newNode(i)
		free, err := n.tryLock()
		switch {
		case err != nil:
			return nil, nil, err
		case !free: // another demo runs there at this moment
		case n.kept():
			n.unlock()
			kept = append(kept, n)
		default:
			return n, kept, n.sweep()
		}
	}
	return nil, nil, fmt.Errorf("%d demos are running or left standing: remove them with `make demo-clean`", mostKept)
}

// leftStanding gives, locked, the nodes that earlier runs left.
func leftStanding() ([]*node, error) {
	var nodes []*node
	for i := 1; i <= mostKept; i++ {
		n := newNode(i)
		if !exists(n.dir) {
			continue
		}
		free, err := n.tryLock()
		if err != nil {
			return nil, err
		}
		if !free {
			note("A demo is running in " + n.dir + "; it is left alone.")
			continue
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// tryLock makes the node's folder if need be, and takes its lock if it is free.
func (n *node) tryLock() (bool, error) {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return false, err
	}
	file, err := os.OpenFile(n.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, errors.Join(file.Close(), ignore(err, unix.EWOULDBLOCK))
	}
	n.lock = file
	return true, nil
}

func (n *node) unlock() { _ = n.lock.Close() }

func (n *node) kept() bool     { return exists(n.path("kept")) }
func (n *node) attached() bool { return exists(n.path("add.json")) && exists(n.netns(n.pod())) }

func (n *node) netns(name string) string { return "/run/netns/" + name }

// make makes the node, with a network interface and what stands behind it, and the empty pod.
func (n *node) make() error {
	for _, args := range n.recipe() {
		command("ip " + args)
		if _, err := ip(strings.Fields(args)...); err != nil {
			return err
		}
	}
	for _, p := range private {
		if err := os.MkdirAll(n.path(p[1]), 0o700); err != nil {
			return err
		}
		if err := n.mountPoint(p[0]); err != nil {
			return err
		}
	}
	return nil
}

// recipe gives the arguments of ip, one call a line.
func (n *node) recipe() []string {
	host, pod := n.host(), n.pod()
	return []string{
		"netns add " + host,
		"netns add " + pod,
		"-n " + host + " link add uplink0 type veth peer name lan0",
		"-n " + host + " addr add 172.31.241.1/24 dev lan0",
		"-n " + host + " link set lo up",
		"-n " + host + " link set uplink0 up",
		"-n " + host + " link set lan0 up",
		"-n " + pod + " link set lo up",
	}
}

// mountPoint sees to it that a folder is there, and notes that it was not.
func (n *node) mountPoint(dir string) error {
	if exists(dir) {
		return nil
	}
	made := n.path("made" + strings.ReplaceAll(dir, "/", "_"))
	if err := os.WriteFile(made, []byte(dir), 0o600); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// inHost gives a command line that runs one on the node, with folders of the node's own in
// place of the machine's.
func (n *node) inHost(args ...string) []string {
	script := ""
	for _, p := range private {
		script += fmt.Sprintf("mount --bind %s %s && ", n.path(p[1]), p[0])
	}
	return append([]string{"ip", "netns", "exec", n.host(), "sh", "-c", script + `exec "$@"`, "sh"}, args...)
}

// sweep removes what a killed run left of the node, but not its locked folder.
func (n *node) sweep() error {
	var faults []error
	for _, name := range []string{n.pod(), n.host()} {
		if exists(n.netns(name)) {
			_, err := ip("netns", "del", name)
			faults = append(faults, err)
		}
	}
	faults = append(faults, n.removeMountPoints())
	entries, err := os.ReadDir(n.dir)
	faults = append(faults, err)
	for _, entry := range entries {
		if entry.Name() != "lock" {
			faults = append(faults, os.RemoveAll(n.path(entry.Name())))
		}
	}
	return errors.Join(faults...)
}

// removeMountPoints removes the folders that were made only to mount others over them.
func (n *node) removeMountPoints() error {
	all, err := filepath.Glob(n.path("made_*"))
	for _, made := range all {
		if dir, err := os.ReadFile(made); err == nil {
			_ = os.Remove(string(dir)) // unless somebody uses it by now
		}
	}
	return err
}

// remove removes the node whole.
func (n *node) remove() error {
	return errors.Join(n.sweep(), os.RemoveAll(n.dir))
}

// howToUse tells how to look around in a node that is left standing, and how to remove it.
func (n *node) howToUse() {
	table([][]string{
		{"in the pod", "ip netns exec " + n.pod() + " bash"},
		{"on the node", "ip netns exec " + n.host() + " bash"},
		{"what is wrong", "bin/kubectl-plexus inspect demo/web --state-dir " + n.stateDir()},
		{"its files", n.dir},
		{"remove it", "make demo-clean"},
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func ignore(err, which error) error {
	if errors.Is(err, which) {
		return nil
	}
	return err
}
