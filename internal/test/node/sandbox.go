package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// Sandbox is the network namespace of one container, as a runtime makes it.
type Sandbox struct {
	t    testing.TB
	node *Node
	ns   netns.NsHandle

	ID   string // the container's
	Path string // CNI_NETNS

	Namespace, PodName string // of the pod: "default" and the ID of the container; see Args
}

// Sandbox makes the network namespace of a container, whose pod is default/<id>.
func (n *Node) Sandbox(id string) *Sandbox {
	n.t.Helper()
	s := &Sandbox{t: n.t, node: n, ID: id, Namespace: "default", PodName: id, Path: n.Path("netns", id)}
	n.Do(s.create)
	n.t.Cleanup(func() {
		if s.ns.IsOpen() {
			_ = s.ns.Close()
		}
	})
	return s
}

// create mounts a new namespace at the sandbox's path.
func (s *Sandbox) create() error {
	if err := os.WriteFile(s.Path, nil, 0o600); err != nil {
		return err
	}
	err := elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		if err := unix.Mount("/proc/thread-self/ns/net", s.Path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return quicken()
	})
	if err != nil {
		return err
	}
	s.ns, err = netns.GetFromPath(s.Path)
	return err
}

// elsewhere enters another network namespace with the host's thread, does something
// there, and comes back.
func elsewhere(enter, do func() error) error {
	host, err := netns.Get()
	if err != nil {
		return err
	}
	defer host.Close()
	if err := enter(); err != nil {
		return err
	}
	err = do()
	if back := netns.Set(host); back != nil {
		panic(fmt.Sprintf("nodetest: the thread is lost in a sandbox: %v", back))
	}
	return err
}

// Do runs a function in the sandbox's network namespace. A socket made there stays there.
func (s *Sandbox) Do(f func() error) {
	s.t.Helper()
	s.node.Do(func() error {
		return elsewhere(func() error { return netns.Set(s.ns) }, f)
	})
}

// Args gives CNI_ARGS as a Kubernetes runtime has them.
func (s *Sandbox) Args() string {
	return fmt.Sprintf("IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s", s.Namespace, s.PodName, s.ID)
}

// Destroy ends the namespace, with its file unless it is to be left as an empty one.
func (s *Sandbox) Destroy(keepFile ...bool) {
	s.t.Helper()
	_ = s.ns.Close()
	s.node.Do(func() error {
		if err := unix.Unmount(s.Path, unix.MNT_DETACH); err != nil || slices.Contains(keepFile, true) {
			return err
		}
		return os.Remove(s.Path)
	})
}

// Run runs a command in the sandbox and gives what it printed and how it ended.
func (s *Sandbox) Run(name string, args ...string) (string, error) {
	s.t.Helper()
	var out []byte
	err := s.node.host.do(func() (err error) {
		out, err = exec.Command("nsenter", append([]string{"--net=" + s.Path, "--", name}, args...)...).CombinedOutput()
		return err
	})
	return string(out), err
}

// MustRun runs a command in the sandbox that has to succeed.
func (s *Sandbox) MustRun(name string, args ...string) {
	s.t.Helper()
	if out, err := s.Run(name, args...); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (s *Sandbox) handle() *netlink.Handle {
	s.t.Helper()
	handle, err := netlink.NewHandleAt(s.ns, unix.NETLINK_ROUTE)
	check.Must(s.t, err)
	return handle
}

// Interface is what a sandbox has of one interface.
type Interface struct {
	Kind  string // "veth", "macvlan", …
	MAC   string
	MTU   int
	Addrs []string // global ones with their prefix, in order
}

// Interfaces gives the sandbox's interfaces by name, without the loopback.
func (s *Sandbox) Interfaces() map[string]Interface {
	s.t.Helper()
	handle := s.handle()
	defer handle.Close()
	links, err := host.Retried(netlink.ErrDumpInterrupted, handle.LinkList)
	check.Must(s.t, err)
	all := map[string]Interface{}
	for _, link := range links {
		attrs := link.Attrs()
		if attrs.Name == "lo" {
			continue
		}
		addrs, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Addr, error) { return handle.AddrList(link, netlink.FAMILY_ALL) })
		check.Must(s.t, err)
		all[attrs.Name] = Interface{Kind: link.Type(), MAC: attrs.HardwareAddr.String(), MTU: attrs.MTU, Addrs: global(addrs)}
	}
	return all
}

// InterfaceNames gives the names of the sandbox's interfaces, sorted, without the loopback.
func (s *Sandbox) InterfaceNames() []string {
	s.t.Helper()
	names := []string{}
	for name := range s.Interfaces() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func global(addrs []netlink.Addr) []string {
	var all []string
	for _, addr := range addrs {
		if addr.Scope == int(netlink.SCOPE_UNIVERSE) {
			all = append(all, addr.IPNet.String())
		}
	}
	sort.Strings(all)
	return all
}

// DefaultRoutes gives the default routes of the main table, the preferred one first,
// IPv4 before IPv6, each as "GATEWAY dev INTERFACE".
func (s *Sandbox) DefaultRoutes() []string {
	s.t.Helper()
	handle := s.handle()
	defer handle.Close()
	all := []string{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Route, error) {
			return handle.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		})
		check.Must(s.t, err)
		routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(r.Dst) || r.Type != unix.RTN_UNICAST })
		slices.SortStableFunc(routes, func(a, b netlink.Route) int { return a.Priority - b.Priority })
		for i := range routes {
			link, err := handle.LinkByIndex(routes[i].LinkIndex)
			check.Must(s.t, err)
			all = append(all, fmt.Sprintf("%v dev %s", routes[i].Gw, link.Attrs().Name))
		}
	}
	return all
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

// Ping tells whether an address answers from within the sandbox.
func (s *Sandbox) Ping(address string) error {
	s.t.Helper()
	if out, err := s.Run("ping", "-n", "-c", "1", "-W", "5", address); err != nil {
		return fmt.Errorf("ping %s: %w: %s", address, err, strings.TrimSpace(out))
	}
	return nil
}
