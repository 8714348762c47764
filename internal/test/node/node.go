// Package node gives tests a node of their own: a network and a mount namespace
// for the host side, sandboxes, the real reference plugins and the real plexus, driven
// as a container runtime drives it. When the test ends, or dies, the kernel clears the
// node away: nothing of it is ever on the machine itself.
//
// It works as root and with the executables that `make test-netns` names; a test that
// has neither is skipped.
package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// Node is the node of one test.
type Node struct {
	t    testing.TB
	host *thread

	// Folders that are on the machine too, all within the test's own.
	CNIDir    string // of plexus's configuration
	ConfDir   string // of plexus's configuration
	PluginDir string // binDir of plexus's configuration: what the test writes itself
	Manifests string // pods and networks
	work      string

	CNIBin string // the reference plugins
	Bin    string // plexus and plexus-once
}

// Folders that a node hides behind empty ones of its own.
const (
	varLibCNI = "/var/lib/cni"
	run       = "/run"
)

// Options say how a node differs from that of New.
type Options struct {
	// Folders of executables in place of those that make names.
	CNIBin, Bin string
	// SharedNetwork leaves the host side in the network namespace of this process, in which
	// an API server listens; the mounts are the node's own all the same.
	SharedNetwork bool
}

// New makes a node for the test, or skips the test.
func New(t testing.TB) *Node {
	t.Helper()
	return NewFrom(t, Options{})
}

// NewFrom makes a node as the options say, or skips the test.
func NewFrom(t testing.TB, o Options) *Node {
	t.Helper()
	if o.CNIBin == "" {
		o.CNIBin = Folder(t, "PLEXUS_CNI_BIN")
	}
	if o.Bin == "" {
		o.Bin = Folder(t, "PLEXUS_BIN")
	}
	n := &Node{t: t, CNIBin: o.CNIBin, Bin: o.Bin, work: t.TempDir()}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root: run make test-netns or test-integration as root")
	}
	for name, path := range map[string]*string{"cni": &n.CNIDir, "net.d": &n.ConfDir, "plugins": &n.PluginDir, "manifests": &n.Manifests} {
		*path = filepath.Join(n.work, name)
	}
	for _, dir := range []string{n.ConfDir, n.PluginDir, n.Manifests, n.Path("netns"), n.Path("hooks")} {
		check.Must(t, os.Mkdir(dir, 0o700))
	}
	host, err := newThread(o.SharedNetwork)
	check.Must(t, err)
	n.host = host
	t.Cleanup(n.host.end)
	n.Do(n.setUp)
	return n
}

// Folder gives the folder of executables that an environment variable names, and skips the
// test without it.
func Folder(t testing.TB, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skipf("%s is not set: run this by make (help lists the targets), which builds what it names", variable)
	}
	return dir
}

// Executable gives an executable from the folder that an environment variable names,
// and skips the test without it.
func Executable(t testing.TB, variable, name string) string {
	t.Helper()
	return filepath.Join(Folder(t, variable), name)
}

// Path gives a path within the test's own folder.
func (n *Node) Path(elements ...string) string {
	return filepath.Join(append([]string{n.work}, elements...)...)
}

// setUp hides the folders with fixed paths and wakes the host's own interface.
func (n *Node) setUp() error {
	if err := os.MkdirAll(varLibCNI, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{varLibCNI, run} {
		if err := unix.Mount("nodetest", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return &os.PathError{Op: "mount a tmpfs on", Path: dir, Err: err}
		}
	}
	return quicken()
}

// quicken makes addresses of the present namespace usable at once, and the loopback.
func quicken() error {
	for _, scope := range []string{"default", "all"} {
		// A kernel without IPv6 has no such file, and nothing to quicken.
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/accept_dad", []byte("0"), 0o600)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Do runs a function on the host side: on a thread that sees the node's network and
// mounts, and whose children do.
func (n *Node) Do(f func() error) {
	n.t.Helper()
	check.Must(n.t, n.host.do(f))
}

// Run runs a command on the host side and gives what it printed.
func (n *Node) Run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a command that may fail on the host side.
func (n *Node) Try(name string, args ...string) (string, error) {
	n.t.Helper()
	var out []byte
	err := n.host.do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

// Uplink makes an interface of the host that is up and has a peer, as master of
// macvlan networks.
func (n *Node) Uplink(name string) {
	n.t.Helper()
	n.Run("ip", "link", "add", name, "type", "veth", "peer", "name", name+"-peer")
	n.Run("ip", "link", "set", name, "up")
	n.Run("ip", "link", "set", name+"-peer", "up")
}

// Links gives the names of the host side's interfaces that are of a kind ("veth",
// "macvlan"), without those of Uplink.
func (n *Node) Links(kind string) []string {
	n.t.Helper()
	var names []string
	n.Do(func() error {
		links, err := host.Retried(netlink.ErrDumpInterrupted, netlink.LinkList)
		uplinks := map[string]bool{}
		for _, link := range links {
			if uplink, isPeer := strings.CutSuffix(link.Attrs().Name, "-peer"); isPeer {
				uplinks[uplink], uplinks[link.Attrs().Name] = true, true
			}
		}
		for _, link := range links {
			if name := link.Attrs().Name; link.Type() == kind && !uplinks[name] {
				names = append(names, name)
			}
		}
		return err
	})
	return names
}

// WriteFile writes a file on the host side, with its folder.
func (n *Node) WriteFile(path, content string) {
	n.t.Helper()
	n.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(content), 0o600)
	})
}

// ReadFile reads a file on the host side.
func (n *Node) ReadFile(path string) string {
	n.t.Helper()
	var data []byte
	n.Do(func() (err error) {
		data, err = os.ReadFile(path)
		return err
	})
	return string(data)
}
