package main

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// advertisement is one of a router, which also gives addresses of fd0a::/64.
type advertisement struct {
	preferred bool // above other default routers
	lifetime  uint16
	anywhere  bool // has the route information for ::/0
}

// bytes encodes it, after RFC 4861 and RFC 4191.
func (a advertisement) bytes() []byte {
	head := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if a.preferred {
		head[5] = 0x08
	}
	binary.BigEndian.PutUint16(head[6:], a.lifetime)
	prefix := append([]byte{3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0}, net.ParseIP("fd0a::")...)
	if a.anywhere {
		head = append(head, 24, 1, 0, 0x08, 0, 0, 0x07, 0x08)
	}
	return append(head, prefix...)
}

// advertise sends an advertisement from an interface of the host, and waits until eth0 of the
// sandbox has the address that it gives: then the kernel is done with all of it.
func advertise(t *testing.T, n *node.Node, pod *node.Sandbox, from string, a advertisement) {
	t.Helper()
	n.Do(func() error {
		link, err := net.InterfaceByName(from)
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		if err := unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
			return err
		}
		allNodes := unix.SockaddrInet6{ZoneId: uint32(link.Index), Addr: [16]byte(net.ParseIP("ff02::1"))}
		return unix.Sendto(socket, a.bytes(), 0, &allNodes)
	})
	check.Eventually(t, "an address of the advertised prefix", 20*time.Second, func() bool {
		return slices.ContainsFunc(pod.Interfaces()["eth0"].Addrs, func(addr string) bool { return strings.HasPrefix(addr, "fd0a:") })
	})
}

// takesDefault gives the kernel's setting of an interface: "1" if routers give it default routes.
func takesDefault(t *testing.T, pod *node.Sandbox, ifName string) string {
	t.Helper()
	return linesOf(t, pod, "cat", "/proc/sys/net/ipv6/conf/"+ifName+"/accept_ra_defrtr")[0]
}

// A router that advertises itself after the ADD takes the default route from nobody. Where
// the pod asked for none of IPv6, it goes on as it was.
func TestNetnsDefaultRouteAndRouters(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		advertisement
		routes   int      // default routes of IPv6
		prefix   string   // of the first of them
		settings []string // of eth0 and net0
	}{
		"a router":                 {`, "default-route": ["fd00:3::1"]`, advertisement{lifetime: 1800}, 1, "default via fd00:3::1 dev net0", []string{"0", "1"}},
		"a preferred router":       {`, "default-route": ["fd00:3::1"]`, advertisement{lifetime: 1800, preferred: true}, 1, "default via fd00:3::1 dev net0", []string{"0", "1"}},
		"a route to anywhere":      {`, "default-route": ["fd00:3::1"]`, advertisement{anywhere: true}, 1, "default via fd00:3::1 dev net0", []string{"0", "1"}},
		"of both families":         {`, "default-route": ["fd00:3::1", "10.3.0.1"]`, advertisement{lifetime: 1800}, 1, "default via fd00:3::1 dev net0", []string{"0", "1"}},
		"of IPv4":                  {`, "default-route": ["10.3.0.1"]`, advertisement{lifetime: 1800, preferred: true}, 2, "default via ", []string{"1", "1"}},
		"of IPv4, as IPv6":         {`, "default-route": ["::ffff:10.3.0.1"]`, advertisement{lifetime: 1800}, 2, "default via ", []string{"1", "1"}},
		"of nothing, and anywhere": {"", advertisement{anywhere: true}, 2, "default via ", []string{"1", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, c.request)
			n.Add(pod, conf)
			check.Equal(t, "settings", []string{takesDefault(t, pod, "eth0"), takesDefault(t, pod, "net0")}, c.settings)
			advertise(t, n, pod, "cbr0", c.advertisement)
			routes := linesOf(t, pod, "ip", "-6", "route", "show", "default")
			if len(routes) != c.routes || !strings.HasPrefix(routes[0], c.prefix) {
				t.Errorf("the default routes are %q", routes)
			}
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

// An attachment without a default route gets none later either, and so does an interface
// that only the result of its plugin names.
func TestNetnsDefaultRouteOfAllOtherInterfaces(t *testing.T) {
	n, pod, conf := dualStack(t, `, "default-route": ["fd00:3::1"]}, {"name": "pair"`)
	n.Plugin("pair", keeper(`{"name":"more","sandbox":"'$CNI_NETNS'"},`, "ip link add more type bridge; "))
	n.Network("pair", node.Conf{"cniVersion": "1.0.0", "name": "pair", "type": "pair"})
	n.Add(pod, conf)
	settings := map[string]string{}
	for _, ifName := range []string{"eth0", "net0", "net1", "more"} {
		settings[ifName] = takesDefault(t, pod, ifName)
	}
	check.Equal(t, "settings", settings, map[string]string{"eth0": "0", "net0": "1", "net1": "0", "more": "0"})
}

// keeper is a plugin that makes an interface, and whose DEL leaves it.
func keeper(others, commands string) string {
	return `[ $CNI_COMMAND = ADD ] || exit 0
nsenter --net=$CNI_NETNS sh -ec "` + commands + `ip link add $CNI_IFNAME type bridge" >&2 || fail 99 "no interface"
echo '{"cniVersion":"1.0.0","interfaces":[` + others + `{"name":"'$CNI_IFNAME'","sandbox":"'$CNI_NETNS'"}]}'
`
}

// What DEL leaves in the pod is as it was before the ADD.
func TestNetnsDefaultRouteGivesSettingsBack(t *testing.T) {
	set := func(value string) string { return "echo " + value + " >/proc/sys/net/ipv6/conf/eth0/accept_ra_defrtr" }
	for name, c := range map[string]struct {
		before  string // a command after the interface is made
		gateway string
		fails   bool
		during  string // the setting after the ADD
		after   string // a command between ADD and DEL
		want    string
	}{
		"after DEL":                    {"true", "fd00:3::1", false, "0", "true", "1"},
		"as it was":                    {set("2"), "fd00:3::1", false, "0", "true", "2"},
		"it was off":                   {set("0"), "fd00:3::1", false, "0", "true", "0"},
		"somebody changed it since":    {"true", "fd00:3::1", false, "0", set("3"), "3"},
		"after an ADD that was undone": {"true", "fd00:99::1", true, "1", "true", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, `, "default-route": ["`+c.gateway+`"]`)
			n.Plugin("keeper", keeper("", ""))
			n.Wrap("bridge")
			n.Hook("bridge", "ADD", "nsenter --net=$CNI_NETNS sh -ec '"+c.before+"' >&2 || fail 99 'prepare'")
			conf = conf.With(node.Conf{"delegates": []node.Conf{{"cniVersion": "1.0.0", "name": "keeper", "type": "keeper"}}})
			if added := call(n, "ADD", pod, conf); (added.ExitCode != 0) != c.fails {
				t.Fatalf("the ADD: %s", added.Stdout)
			}
			check.Equal(t, "setting after the ADD", takesDefault(t, pod, "eth0"), c.during)
			linesOf(t, pod, "sh", "-ec", c.after)
			n.Del(pod, conf)
			check.Equal(t, "setting after DEL", takesDefault(t, pod, "eth0"), c.want)
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

// The setting as it was is in the record before it changes: a killed ADD is undone too.
func TestNetnsDefaultRouteNotesSettings(t *testing.T) {
	n, pod, conf := dualStack(t, `, "default-route": ["fd00:3::1"]`)
	n.Add(pod, conf)
	noted, err := json.Marshal(n.Record(pod).Progress[0].Settings)
	check.Must(t, err)
	check.Equal(t, "settings of eth0", string(noted), `[{"interface":"eth0","name":"accept_ra_defrtr","value":"1"}]`)
	check.Equal(t, "settings of net0", len(n.Record(pod).Progress[1].Settings), 0)
}
