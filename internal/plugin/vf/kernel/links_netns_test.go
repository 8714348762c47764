package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

// namespace makes a network namespace for the test and gives its path.
func namespace(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces (make test-netns)")
	}
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, nil, 0o600))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	must(t, <-done)
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes a veth pair in a namespace, its first end as the VF, and gives that.
func pair(t *testing.T, ns string) *vf.Link {
	t.Helper()
	must(t, overNetlink(ns, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "vf0"}, PeerName: "wire"})
	}))
	must(t, Links{}.SetUp(ns, look(t, ns, "wire").Index, true))
	return look(t, ns, "vf0")
}

func look(t *testing.T, ns, name string) *vf.Link {
	t.Helper()
	var link *vf.Link
	must(t, overNetlink(ns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err == nil {
			link = describe(l)
		}
		return err
	}))
	return link
}

func TestNetnsLinks(t *testing.T) {
	host, pod, l := namespace(t, "host"), namespace(t, "pod"), Links{}
	link := pair(t, host)
	for name, want := range map[string]bool{"vf0": true, "net0": false, "lo": true} {
		if exists, err := l.Exists(host, name); exists != want || err != nil {
			t.Errorf("%s: %v, %v", name, exists, err)
		}
	}
	must(t, l.Rename(host, link.Index, "vf1"))
	must(t, l.SetMAC(host, link.Index, "02:00:00:00:00:07"))
	must(t, l.SetMTU(host, link.Index, 1400))
	must(t, l.Move(host, link.Index, pod))
	moved := look(t, pod, "vf1")
	must(t, l.SetUp(pod, moved.Index, true))
	if got := look(t, pod, "vf1"); got.MAC != "02:00:00:00:00:07" || got.MTU != 1400 || !got.Up || got.Infiniband {
		t.Errorf("in the pod: %+v", got)
	}
	if exists, err := l.Exists(host, "vf1"); exists || err != nil {
		t.Errorf("still on the host: %v, %v", exists, err)
	}
	must(t, l.SetUp(pod, moved.Index, false))
	must(t, l.Move(pod, moved.Index, host))
	look(t, host, "vf1")
	if found, err := l.Find(host, "0000:01:10.0"); found != nil || err != nil {
		t.Errorf("of a device that is not there: %v, %v", found, err)
	}
	if ns, found, err := l.Search("0000:ff:1f.7"); ns != "" || found != nil || err != nil {
		t.Errorf("of a device that is nowhere: %s, %v, %v", ns, found, err)
	}
	for what, err := range map[string]error{
		"rename": l.Rename("/none", 1, "x"), "move": l.Move(host, link.Index, "/none"), "up": l.SetUp(host, 9999, true), "mac": l.SetMAC(host, link.Index, "x"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func given(addresses ...string) *current.Result {
	result := &current.Result{Interfaces: []*current.Interface{{Name: "vf0", Sandbox: "x"}}}
	for _, address := range addresses {
		result.IPs = append(result.IPs, &current.IPConfig{Interface: current.Int(0), Address: cidr(address)})
	}
	return result
}

func TestNetnsConfigure(t *testing.T) {
	ns, l := namespace(t, "pod"), Links{}
	link := pair(t, ns)
	must(t, onThreadIn(ns, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/vf0/disable_ipv6", []byte("1"), 0o600) }))
	must(t, l.SetUp(ns, link.Index, true))
	result := given("10.9.0.2/24", "fd09::2/64")
	result.IPs[0].Gateway = cidr("10.9.0.1/24").IP
	result.Routes = []*cnitypes.Route{{Dst: cidr("0.0.0.0/0")}, {Dst: cidr("10.8.0.0/16"), GW: cidr("10.9.0.9/24").IP}, {Dst: cidr("fd08::/64")}}
	must(t, l.Configure(t.Context(), ns, link, result))
	must(t, l.Verify(ns, link, result))
	must(t, l.Announce(t.Context(), ns, link, result))
	wrong := given("10.9.0.3/24")
	wrong.Routes = []*cnitypes.Route{{Dst: cidr("10.7.0.0/16")}}
	err := l.Verify(ns, link, wrong)
	if err == nil || !strings.Contains(err.Error(), "address 10.9.0.3/24 is not there") || !strings.Contains(err.Error(), "route to 10.7.0.0/16 is not there") {
		t.Errorf("got %v", err)
	}
}

// An IPv6 address that somebody on the link has is refused, by the kernel's own search.
func TestNetnsConfigureDuplicate(t *testing.T) {
	ns, other, l := namespace(t, "pod"), namespace(t, "other"), Links{}
	link := pair(t, ns)
	must(t, l.Move(ns, look(t, ns, "wire").Index, other))
	must(t, l.SetUp(ns, link.Index, true))
	wire := look(t, other, "wire")
	must(t, l.SetUp(other, wire.Index, true))
	must(t, l.Configure(t.Context(), other, wire, given("fd09::2/64")))
	err := l.Configure(t.Context(), ns, link, given("fd09::2/64"))
	if err == nil || !strings.Contains(err.Error(), "fd09::2 is in use by another") {
		t.Errorf("got %v", err)
	}
}

// A port without a cable gets its addresses all the same.
func TestNetnsConfigureWithoutCarrier(t *testing.T) {
	ns, l := namespace(t, "pod"), Links{}
	link := pair(t, ns)
	must(t, l.SetUp(ns, look(t, ns, "wire").Index, false))
	must(t, l.SetUp(ns, link.Index, true))
	result := given("10.9.0.2/24", "fd09::2/64")
	must(t, l.Configure(t.Context(), ns, link, result))
	must(t, l.Verify(ns, link, result))
}

// The neighbours hear of the addresses of both families.
func TestNetnsAnnounce(t *testing.T) {
	ns, other, l := namespace(t, "pod"), namespace(t, "other"), Links{}
	link := wired(t, ns, other)
	must(t, l.SetUp(ns, link.Index, true))
	result := given("10.9.0.2/24", "fd09::2/64")
	must(t, l.Configure(t.Context(), ns, link, result))
	heard := listen(t, other)
	must(t, l.Announce(t.Context(), ns, link, result))
	own, err := parseMAC(link.MAC)
	must(t, err)
	heard(arpFrame(own, cidr("10.9.0.2/24").IP.To4(), arpRequest), arpFrame(own, cidr("10.9.0.2/24").IP.To4(), arpReply), advertisement(own, cidr("fd09::2/64").IP))
}

// wired is pair with the wire's other end in another namespace.
func wired(t *testing.T, ns, other string) *vf.Link {
	t.Helper()
	link, l := pair(t, ns), Links{}
	must(t, l.Move(ns, look(t, ns, "wire").Index, other))
	must(t, l.SetUp(other, look(t, other, "wire").Index, true))
	return link
}

// listen hears what comes into a namespace from now on. What it gives waits until frames have come that
// begin with each of those that it is given, and gives all that have come.
func listen(t *testing.T, ns string) func(frames ...[]byte) (heard [][]byte) {
	t.Helper()
	var socket int
	must(t, onThreadIn(ns, func() (err error) {
		all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		return err
	}))
	t.Cleanup(func() { _ = unix.Close(socket) })
	must(t, unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	return func(frames ...[]byte) (heard [][]byte) {
		t.Helper()
		buffer := make([]byte, 2048)
		for len(frames) > 0 {
			n, err := unix.Read(socket, buffer)
			if errors.Is(err, unix.EINTR) {
				continue // a socket with a limit of time is not read again by itself after a signal
			}
			if err != nil {
				t.Fatalf("%d frames were not heard, such as %x: %v", len(frames), frames[0], err)
			}
			heard = append(heard, slices.Clone(buffer[:n]))
			frames = slices.DeleteFunc(frames, func(frame []byte) bool { return bytes.HasPrefix(buffer[:n], frame) })
		}
		return heard
	}
}

// An alternative name is taken as any other is, in the kernel too: package vf goes by that.
func TestNetnsAltNames(t *testing.T) {
	host, pod, l := namespace(t, "host"), namespace(t, "pod"), Links{}
	link := pair(t, host)
	for _, name := range []string{"enp1s0v1", "a-name-with-more-than-fifteen-bytes"} {
		must(t, l.AddAltName(host, link.Index, name))
		if exists, err := l.Exists(host, name); !exists || err != nil {
			t.Errorf("%s: exists %v, %v", name, exists, err)
		}
	}
	if got := look(t, host, "vf0").AltNames; len(got) != 2 || got[0] != "enp1s0v1" {
		t.Errorf("alternative names: %q", got)
	}
	if err := l.Rename(host, link.Index, "enp1s0v1"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a rename to its own alternative name: %v", err)
	}
	must(t, l.RemoveAltName(host, link.Index, "enp1s0v1"))
	if err := l.RemoveAltName(host, link.Index, "enp1s0v1"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("one that is gone: %v", err)
	}
	must(t, l.Rename(host, link.Index, "enp1s0v1"))
	must(t, l.Move(host, link.Index, pod))
	moved := look(t, pod, "enp1s0v1")
	if got := moved.AltNames; len(got) != 1 {
		t.Errorf("alternative names in the pod: %q", got)
	}
	for what, err := range map[string]error{"add": l.AddAltName(pod, 9999, "x"), "remove": l.RemoveAltName("/none", moved.Index, "x")} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// An interface with as many alternative names as the kernel takes hides none, and can be rid of them.
func TestNetnsManyAltNames(t *testing.T) {
	for what, format := range map[string]string{"long": "a%0126d", "short": "a%d"} {
		pod, l := namespace(t, "pod"), Links{}
		link := pair(t, pod)
		var err error
		n := 0
		for ; err == nil; n++ {
			err = l.AddAltName(pod, link.Index, fmt.Sprintf(format, n))
		}
		found, err := links(pod)
		if err != nil {
			t.Errorf("%s names: %v", what, err)
		}
		names := 0
		for _, f := range found {
			names += len(f.Attrs().AltNames)
		}
		if len(found) < 3 || names != n-1 {
			t.Errorf("%s names: %d interfaces with %d names, want 3 with %d", what, len(found), names, n-1)
		}
		if _, err := l.Find(pod, "0000:01:10.0"); err != nil {
			t.Errorf("%s names: %v", what, err)
		}
		for i := range n - 1 {
			must(t, l.RemoveAltName(pod, link.Index, fmt.Sprintf(format, i)))
		}
	}
	if _, err := links("/none"); err == nil {
		t.Error("no namespace, and no error")
	}
}
