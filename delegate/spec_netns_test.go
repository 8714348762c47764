package delegate

import (
	"encoding/json"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// What can only be seen when an engine really works, in a network namespace.

// runNotGiven holds that an attachment fails that has not got what the pod asks of it, and that
// the other one is undone.
func runNotGiven(t *testing.T, asks, result, message string) {
	t.Helper()
	n := newSpecSandbox(t, `[{"name": "second", `+asks+`}]`)
	n.result(t, "chained", result)
	_, err := n.engine.Add(t.Context(), n.call)
	if err == nil {
		t.Fatal("the ADD succeeds")
	}
	check.Contains(t, "error", err.Error(), "pod default/web: attach network default/second as net0: "+message)
	check.Equal(t, "calls", n.calls(t), []string{"ADD first eth0", "ADD second net0", "DEL second net0", "DEL first eth0"})
}

func TestNetnsSpec_4_1_2_1_3_2_IPsOfNobodyFail(t *testing.T) {
	runNotGiven(t, `"ips": ["10.2.2.42/24", "2001:db8::5/64"]`, `{"cniVersion": "1.0.0", "ips": [{"address": "10.2.2.42/24"}]}`,
		"ips: the pod asks for 2001:db8::5/64, but the attachment has 10.2.2.42: no plugin of the network declares the capability")
}

func TestNetnsSpec_4_1_2_1_4_2_MACOfNobodyFails(t *testing.T) {
	runNotGiven(t, `"mac": "02:23:45:67:89:01"`, `{"cniVersion": "1.0.0", "interfaces": [{"name": "net0", "mac": "02:23:45:67:89:02", "sandbox": "NETNS"}]}`,
		"mac: the pod asks for 02:23:45:67:89:01, but the attachment has 02:23:45:67:89:02: no plugin of the network declares the capability")
}

func TestNetnsSpec_4_1_2_1_5_1_InterfaceIsCNIIFNAME(t *testing.T) {
	n := newSpecSandbox(t, "second@data0")
	n.add(t)
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	check.Equal(t, "calls", n.calls(t), []string{"ADD first eth0", "ADD second data0", "DEL second data0", "DEL first eth0"})
}

// TestNetnsSpec_4_1_2_1_9_DefaultRouteMoves: the default network loses its default
// route, the attachment that asked has its own.
func TestNetnsSpec_4_1_2_1_9_DefaultRouteMoves(t *testing.T) {
	n := newSpecSandbox(t, `[{"name": "second", "default-route": ["10.2.0.1"]}]`)
	n.makesLink(t, "first", "10.1.0.5/24", "10.1.0.1")
	n.makesLink(t, "second", "10.2.0.5/24", "")
	sandbox, err := openSandbox(n.call.Sandbox.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer sandbox.close()
	n.result(t, "chained", `{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "NETNS"}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]}`)
	n.add(t)
	routes, err := sandbox.defaults(ipv4, unix.RT_TABLE_MAIN)
	if err != nil {
		t.Fatal(err)
	}
	link, err := sandbox.handle.LinkByName("net0")
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 1 || routes[0].LinkIndex != link.Attrs().Index || !routes[0].Gw.Equal(net.ParseIP("10.2.0.1")) {
		t.Errorf("the namespace has the default routes %v", routes)
	}
}

// makesLink makes a plugin really make its interface, with an address and, if one is
// given, a default route over a gateway.
func (n *specNode) makesLink(t *testing.T, plugin, address, gateway string) {
	t.Helper()
	make := "ip link add $CNI_IFNAME type bridge; ip addr add " + address + " dev $CNI_IFNAME; ip link set $CNI_IFNAME up"
	if gateway != "" {
		make += "; ip route add default via " + gateway + " dev $CNI_IFNAME"
	}
	body := "[ $CNI_COMMAND != ADD ] || nsenter --net=$CNI_NETNS sh -ec \"" + make + "\"\n"
	writeTestFile(t, filepath.Join(n.dir, "bin", plugin), strings.Replace(specScript, "note begin\n", "note begin\n"+body, 1), 0o755)
}

// specLink makes an interface with an address.
func specLink(t *testing.T, sandbox *sandboxNet, name, address string) {
	t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{sandbox.handle.LinkAdd(link), sandbox.handle.AddrAdd(link, addr), sandbox.handle.LinkSetUp(link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNetnsSpec_4_2_SeparateStatusEntries(t *testing.T) {
	n := newSpecSandbox(t, "second,second")
	status := n.add(t)
	check.Equal(t, "calls", n.calls(t), []string{"ADD first eth0", "ADD second net0", "ADD second net1"})
	specEntries(t, []types.NetworkStatus{
		{Name: "net-of-first", Interface: "eth0", Default: true},
		{Name: "default/second", Interface: "net0"},
		{Name: "default/second", Interface: "net1"},
	}, status)
}

// TestNetnsSpec_4_2_1_OneTupleForAllVerbs: container, network and interface are the
// same for every verb of an attachment, and no two attachments share them.
func TestNetnsSpec_4_2_1_OneTupleForAllVerbs(t *testing.T) {
	n := newSpecSandbox(t, "second,second@x")
	n.add(t)
	if err := n.engine.Check(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	// The network says something else by now, and another one has its name.
	n.source.facts.Networks[1].Config = strings.ReplaceAll(n.source.facts.Networks[1].Config, "net-of-second", "renamed")
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	type tuple struct{ container, network, ifName string }
	tuples := map[string]map[tuple]int{}
	for _, c := range n.begun(t) {
		if tuples[c.Command] == nil {
			tuples[c.Command] = map[tuple]int{}
		}
		tuples[c.Command][tuple{c.Container, c.Stdin.Name, c.IfName}]++
	}
	// Each chain has two plugins.
	want := map[tuple]int{{"c1", "net-of-first", "eth0"}: 2, {"c1", "net-of-second", "net0"}: 2, {"c1", "net-of-second", "x"}: 2}
	if commands := slices.Sorted(maps.Keys(tuples)); !slices.Equal(commands, []string{"ADD", "CHECK", "DEL"}) {
		t.Fatalf("the plugins were called for %v", commands)
	}
	for command, got := range tuples {
		if !maps.Equal(want, got) {
			t.Errorf("%s for %v, want %v", command, got, want)
		}
	}
}

// TestNetnsSpec_5_1_1_FirstSandboxInterface: and a minimal entry where the plugins say
// nothing.
func TestNetnsSpec_5_1_1_FirstSandboxInterface(t *testing.T) {
	n := newSpecSandbox(t, "second,third")
	n.result(t, "chained", `{"cniVersion": "1.0.0", "interfaces": [
			{"name": "br0", "mac": "02:00:00:00:00:01"}, {"name": "one", "mac": "02:00:00:00:00:02", "sandbox": "NETNS"}, {"name": "two", "mac": "02:00:00:00:00:03", "sandbox": "NETNS"}],
			"ips": [{"address": "10.0.0.1/24", "interface": 0}, {"address": "10.0.0.2/24", "interface": 1}, {"address": "10.0.0.3/24", "interface": 2}]}`)
	status := n.add(t)
	if len(status) != 6 {
		t.Fatalf("%d entries for 3 attachments with 2 interfaces each", len(status))
	}
	specEntries(t, []types.NetworkStatus{
		{Name: "net-of-first", Interface: "one", MAC: "02:00:00:00:00:02", IPs: []string{"10.0.0.2"}, Default: true},
		{Name: "net-of-first", Interface: "two", MAC: "02:00:00:00:00:03", IPs: []string{"10.0.0.3"}},
		{Name: "default/second", Interface: "one", MAC: "02:00:00:00:00:02", IPs: []string{"10.0.0.2"}},
	}, status[:3])
}

func TestNetnsSpec_5_1_1_MinimalEntry(t *testing.T) {
	n := newSpecSandbox(t, "second")
	n.result(t, "chained", `{"cniVersion": "1.0.0"}`)
	specEntries(t, []types.NetworkStatus{{Name: "net-of-first", Default: true}, {Name: "default/second"}}, n.add(t))
}

// TestNetnsSpec_5_2_DefaultEntry: every pod's status has one entry of the default
// network.
func TestNetnsSpec_5_2_DefaultEntry(t *testing.T) {
	for _, annotation := range []string{"", "second", "second,third"} {
		t.Run("networks "+annotation, func(t *testing.T) {
			status := newSpecSandbox(t, annotation).add(t)
			defaults := slices.DeleteFunc(slices.Clone(status), func(s types.NetworkStatus) bool { return !s.Default })
			specEntries(t, []types.NetworkStatus{{Name: "net-of-first", Interface: "eth0", Default: true}}, defaults)
		})
	}
}

// TestNetnsSpec_6_EveryPodIsAttached: to the default network, first of all.
func TestNetnsSpec_6_EveryPodIsAttached(t *testing.T) {
	for annotation, want := range map[string][]string{
		"":             {"ADD first eth0"},
		"third,second": {"ADD first eth0", "ADD third net0", "ADD second net1"},
	} {
		t.Run("networks "+annotation, func(t *testing.T) {
			n := newSpecSandbox(t, annotation)
			n.add(t)
			check.Equal(t, "calls", n.calls(t), want)
		})
	}
}

// TestNetnsSpec_7_1_VersionAndNameInjected: into every plugin's configuration, with the
// result of the one before; the runtime gets its own version.
func TestNetnsSpec_7_1_VersionAndNameInjected(t *testing.T) {
	n := newSpecSandbox(t, "second")
	n.engine.Config.CNIVersion = "0.4.0"
	n.source.facts.Networks[1].Config = `{"cniVersion": "1.1.0", "plugins": [{"type": "second"}, {"type": "chained"}]}`
	result, err := n.engine.Add(t.Context(), n.call)
	if err != nil {
		t.Fatal(err)
	}
	check.Equal(t, "the answer's version", result.Version(), "0.4.0")
	type stdin struct {
		Plugin, Version, Name string
		HasPrevResult         bool
	}
	var got []stdin
	for _, c := range n.begun(t) {
		got = append(got, stdin{c.Plugin, c.Stdin.CNIVersion, c.Stdin.Name, c.Stdin.PrevResult != nil})
	}
	check.Equal(t, "standard input", got, []stdin{
		{"first", "1.0.0", "net-of-first", false},
		{"chained", "1.0.0", "net-of-first", true},
		{"second", "1.1.0", "second", false},
		{"chained", "1.1.0", "second", true},
	})
}

// TestNetnsSpec_7_2_AddFailsAtOnce: the first failure is the ADD's, nothing more is
// attached, and what was tried is torn down.
func TestNetnsSpec_7_2_AddFailsAtOnce(t *testing.T) {
	for ifName, want := range map[string][]string{
		"eth0": {"ADD first eth0", "DEL first eth0"},
		"net0": {"ADD first eth0", "ADD second net0", "DEL second net0", "DEL first eth0"},
		"net1": {"ADD first eth0", "ADD second net0", "ADD third net1", "DEL third net1", "DEL second net0", "DEL first eth0"},
	} {
		t.Run(ifName, func(t *testing.T) {
			n := newSpecSandbox(t, "second,third")
			n.fail(t, "ADD", ifName)
			result, err := n.engine.Add(t.Context(), n.call)
			if result != nil || err == nil || !strings.Contains(err.Error(), "says no") || !strings.Contains(err.Error(), ifName) {
				t.Errorf("ADD gives %v, %v", result, err)
			}
			check.Equal(t, "calls", n.calls(t), want)
		})
	}
}

// TestNetnsSpec_7_2_DelTriesAll: whichever detachments fail, the others are done, and
// the runtime is told.
func TestNetnsSpec_7_2_DelTriesAll(t *testing.T) {
	for _, failing := range [][]string{{"eth0"}, {"net0"}, {"net1"}, {"net0", "net1"}, {"eth0", "net0", "net1"}} {
		t.Run(strings.Join(failing, ","), func(t *testing.T) {
			n := newSpecSandbox(t, "second,third")
			n.add(t)
			for _, ifName := range failing {
				n.fail(t, "DEL", ifName)
			}
			err := n.engine.Del(t.Context(), n.call)
			if err == nil {
				t.Fatal("DEL says that all is well")
			}
			for _, ifName := range failing {
				if !strings.Contains(err.Error(), "from "+ifName) {
					t.Errorf("DEL does not say that %s failed: %v", ifName, err)
				}
			}
			got := specOfCommand(n.begun(t), "DEL")
			for _, ifName := range []string{"eth0", "net0", "net1"} {
				if !slices.Contains(got, ifName) {
					t.Errorf("no DEL for %s, only for %v", ifName, got)
				}
			}
		})
	}
}

// TestNetnsSpec_7_2_DelAfterFailedAdd: what was attempted is torn down, however far the
// ADD came, also where its own undo failed.
func TestNetnsSpec_7_2_DelAfterFailedAdd(t *testing.T) {
	n := newSpecSandbox(t, "second,third")
	n.fail(t, "ADD", "net0")
	n.fail(t, "DEL", "net0")
	if _, err := n.engine.Add(t.Context(), n.call); err == nil || !strings.Contains(err.Error(), "undo") {
		t.Errorf("ADD gives %v, want both failures", err)
	}
	if err := n.engine.Del(t.Context(), n.call); err == nil {
		t.Error("DEL says that all is well")
	}
	if got := specOfCommand(n.begun(t), "DEL"); slices.Contains(got, "net1") || strings.Count(strings.Join(got, " "), "net0") < 2 {
		t.Errorf("DEL for %v: want net0 twice at least, and not net1, which was never tried", got)
	}
}

// specOfCommand gives the interfaces of the calls of a command, in order.
func specOfCommand(calls []specCall, command string) []string {
	var interfaces []string
	for _, c := range calls {
		if c.Command == command {
			interfaces = append(interfaces, c.IfName)
		}
	}
	return interfaces
}

// TestNetnsSpec_7_3_OneAfterAnother: no plugin begins before the one before has ended.
func TestNetnsSpec_7_3_OneAfterAnother(t *testing.T) {
	n := newSpecSandbox(t, "second,third,second")
	n.add(t)
	if err := n.engine.Check(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	notes := n.notes(t)
	if want := 3 * 4 * 2 * 2; len(notes) != want { // verbs, attachments, plugins, begin and end
		t.Fatalf("%d notes, want %d", len(notes), want)
	}
	for i := 0; i < len(notes); i += 2 {
		begin, end := notes[i], notes[i+1]
		if begin.Phase != "begin" || end.Phase != "end" || begin.String() != end.String() {
			t.Fatalf("%s of %s is followed by %s of %s", begin.Phase, &begin, end.Phase, &end)
		}
	}
}

// TestNetnsSpec_7_3_OneCallPerContainer: a call does nothing while another one works on
// the same container.
func TestNetnsSpec_7_3_OneCallPerContainer(t *testing.T) {
	n := newSpecSandbox(t, "")
	lock, free, err := n.engine.Journal().TryLock(n.call.Sandbox.ContainerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	n.engine.Config.AddTimeout = types.Duration(50 * time.Millisecond)
	if _, err := n.engine.Add(t.Context(), n.call); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("ADD gives %v, want code %d", err, types.CodeTryAgainLater)
	}
	if calls := n.calls(t); len(calls) != 0 {
		t.Errorf("the plugins were called: %v", calls)
	}
	lock.Release()
	n.engine.Config.AddTimeout = types.Duration(types.DefaultAddTimeout)
	if _, err := n.engine.Add(t.Context(), n.call); err != nil {
		t.Errorf("after the other call: %v", err)
	}
}

// TestNetnsSpec_7_5_RuntimeConfigOfThePlugins: what the plugins really get.
func TestNetnsSpec_7_5_RuntimeConfigOfThePlugins(t *testing.T) {
	n := newSpecSandbox(t, "second")
	n.engine.Config.RuntimeConfig = map[string]json.RawMessage{"portMappings": json.RawMessage(`[{"hostPort":8080}]`)}
	n.add(t)
	got := map[string]string{}
	for _, c := range n.begun(t) {
		got[c.Plugin+" "+c.IfName] = string(c.Stdin.RuntimeConfig)
	}
	want := map[string]string{"first eth0": `{"portMappings":[{"hostPort":8080}]}`, "chained eth0": "", "second net0": "", "chained net0": ""}
	check.Equal(t, "runtimeConfig", got, want)
}
