package sriov

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const routeDst = "203.0.113.0/24"

// hostLocal gives the addresses 10.9.0.2, 10.9.0.3, ….
func hostLocal() conf {
	return conf{"ipam": conf{"type": "host-local", "subnet": "10.9.0.0/24", "routes": []conf{{"dst": routeDst}}}}
}

// everything asks for all that igb can do.
func everything(device, address string) conf {
	return conf{
		"cniVersion": "1.1.0", "name": "fast", "type": pluginName, "deviceID": device, "mac": "02:11:22:33:44:55",
		"vlan": 100, "vlanQoS": 3, "spoofchk": "on", "trust": "on", "max_tx_rate": 200,
		"ipam": conf{"type": "static", "addresses": []conf{{"address": address}}, "routes": []conf{{"dst": routeDst}}},
	}
}

func TestGuestPluginAddCheckDel(t *testing.T) {
	l := newLab(t)
	for _, vf := range []int{0, 1} { // one is down and plain, the other up with settings of its own
		t.Run(fmt.Sprintf("VF %d", vf), func(t *testing.T) {
			l := &lab{t: t, cnis: l.cnis}
			before := l.snapshot()
			pod := l.netns("a")
			config := everything(l.vf(pf0, vf), "10.9.0.1/24")
			added := l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
			l.look(pod, vf, "10.9.0.1")
			l.atHome(vf, false)
			check := config.with(conf{"prevResult": json.RawMessage(added.stdout)})
			l.must(call{command: "CHECK", netns: pod, ifName: "net0"}, check)
			l.sh(fmt.Sprintf("ip link set pf0 vf %d trust off; ip -n a addr del 10.9.0.1/24 dev net0", vf))
			l.refused(call{command: "CHECK", netns: pod, ifName: "net0"}, check, 100, "trust: is off, not on", "address 10.9.0.1/24 is not there")
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			l.mustBe(before, "after DEL")
			l.atHome(vf, true)
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			l.mustBe(before, "after a second DEL")
		})
	}
}

// atHome demands that the kernel shows a VF at home, or not: a record that is given up frees
// its device only then.
func (l *lab) atHome(vf int, want bool) {
	l.t.Helper()
	if id := l.vf(pf0, vf); host.DeviceAtHome(id) != want {
		l.t.Errorf("VF %d (%s) is at home: %v, want %v", vf, id, !want, want)
	}
}

// look demands what everything asked for.
func (l *lab) look(pod string, vf int, address string) {
	l.t.Helper()
	now := l.settings("pf0")[vf]
	for key, want := range map[string]any{"spoofchk": true, "trust": true} {
		if now[key] != want {
			l.t.Errorf("VF %d: %s is %v, want %v", vf, key, now[key], want)
		}
	}
	if got := fmt.Sprint(now["address"], now["vlan_list"], now["rate"]); got != "02:11:22:33:44:55[map[qos:3 vlan:100]] map[max_tx:200 min_tx:0]" {
		l.t.Errorf("VF %d: %s", vf, got)
	}
	link := named(l.t, l.links(pod), "net0")
	if got := fmt.Sprint(link.MAC, " ", link.Address[0].Local); got != "02:11:22:33:44:55 "+address {
		l.t.Errorf("in the pod: %s", got)
	}
	if l.sh("ip -n "+filepath.Base(pod)+" route show "+routeDst) == "" {
		l.t.Error("the route is not there")
	}
}

func TestGuestPluginResult(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod, device := l.netns("a"), l.vf(pf0, 2)
	info := filepath.Join(t.TempDir(), "devinfo", "file")
	config := everything(device, "10.9.0.1/24").with(conf{"runtimeConfig": conf{"mac": "02:aa:bb:cc:dd:ee", "CNIDeviceInfoFile": info}})
	a := l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	want := `{"cniVersion":"1.1.0","interfaces":[{"mac":"02:aa:bb:cc:dd:ee","mtu":1500,"name":"net0","pciID":"` + device + `","sandbox":"/run/netns/a"}],` +
		`"ips":[{"address":"10.9.0.1/24","interface":0}],"routes":[{"dst":"203.0.113.0/24"}]}`
	if diff := cmp.Diff(want, canonical(t, a.stdout)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	said, err := os.ReadFile(info)
	check.Must(t, err)
	if want := `{"type":"pci","version":"1.1.0","pci":{"pci-address":"` + device + `","pf-pci-address":"` + pf0 + `"}}`; string(said) != want {
		t.Errorf("device information: %s, want %s", said, want)
	}
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	if _, err := os.Stat(info); err == nil {
		t.Error("the device information is still there")
	}
	l.mustBe(before, "after DEL")
}

// canonical gives JSON without spaces, its keys in order.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var value any
	check.Must(t, json.Unmarshal([]byte(text), &value))
	data, err := json.Marshal(value)
	check.Must(t, err)
	return string(data)
}

func TestGuestPluginVersions(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod := l.netns("a")
	for _, version := range types.AllCNIVersions() {
		config := everything(l.vf(pf0, 2), "10.9.0.1/24").with(conf{"cniVersion": version})
		a := l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
		var result struct{ CNIVersion string }
		check.Must(t, json.Unmarshal([]byte(a.stdout), &result))
		if result.CNIVersion != version {
			t.Errorf("the result is of version %q, want %q", result.CNIVersion, version)
		}
		l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
		l.mustBe(before, "after DEL in version "+version)
	}
}

// igb cannot do these: they are errors when asked for, and the VF is as before.
func TestGuestPluginUnsupported(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod, device := l.netns("a"), l.vf(pf0, 3)
	config := everything(device, "10.9.0.1/24")
	const unsupported = ": the PF's driver does not support it"
	for field, more := range map[string]conf{
		"link_state: set to enable, was auto" + unsupported: {"link_state": "enable"},
		"min_tx_rate": {"min_tx_rate": 10},
		"vlan: set to 100, priority 3, 802.1ad, was 0, priority 0, 802.1q" + unsupported: {"vlanProto": "802.1ad"},
		"vlan: set to 7, priority 0, 802.1ad, was 0, priority 0, 802.1q" + unsupported:   {"vlan": 7, "vlanQoS": 0, "vlanProto": "802.1AD"},
		"infinibandGUID": {"infinibandGUID": "00:11:22:33:44:55:66:77"},
	} {
		l.refused(call{command: "ADD", netns: pod, ifName: "net0"}, config.with(more), 100, device, "PF pf0", "VF 3", field)
		l.mustBe(before, "after "+field)
	}
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config.with(conf{"link_state": "auto"})) // as it is
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
}

func TestGuestPluginRefused(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod := l.netns("a")
	add := call{command: "ADD", netns: pod, ifName: "net0"}
	config := everything(l.vf(pf0, 0), "10.9.0.1/24")
	l.refused(add, config.with(conf{"vlan": 5000, "trust": "yes", "mac": "01:00:5e:00:00:01", "deviceID": 7}), 7, "vlan: 5000", "trust:", "mac: 01:00:5e", "deviceID: has a value of the wrong type")
	l.refused(add, config.with(conf{"deviceID": "0000:09:00.0"}), 7, "0000:09:00.0", "there is no such device")
	l.refused(add, config.with(conf{"deviceID": pf0}), 7, "is not a virtual function but a pf")
	l.refused(add, config.with(conf{"ipam": conf{"type": "nothere"}}), 7, "nothere")
	l.refused(add, config.with(conf{"ipam": conf{"type": "static", "addresses": []conf{}}}), 100, "IPAM plugin static (ADD): it gave no address")
	l.refused(call{command: "ADD", netns: pod, ifName: "lo"}, config, 4, "there is an interface lo")
	l.refused(call{command: "ADD", netns: "/run/netns/none", ifName: "net0"}, config, 3, "/run/netns/none")
	l.refused(call{command: "ADD", netns: "/proc/self/ns/net", ifName: "net0"}, config, 4, "the host's own")
	l.mustBe(before, "after the refusals")

	l.must(add, config)
	l.refused(call{command: "ADD", netns: l.netns("b"), ifName: "net0", container: "c2"}, config, 7, "another sandbox has it: container c1, interface net0, network namespace "+pod)
	l.refused(add, config, 100, "is attached already")
	l.look(pod, 0, "10.9.0.1")
	l.must(call{command: "DEL", netns: "/run/netns/b", ifName: "net0", container: "c2"}, config) // of the refused one
	l.look(pod, 0, "10.9.0.1")
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
}

// A VF that a living pod has by sriov-cni is not for another one.
func TestGuestPluginTakenBySRIOVCNI(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	device, pod, theirs := l.vf(pf0, 2), l.netns("a"), l.netns("theirs")
	l.sh("mkdir -p /var/lib/cni/sriov/pci && printf " + theirs + " > /var/lib/cni/sriov/pci/" + device)
	config := everything(device, "10.9.0.1/24")
	add := call{command: "ADD", netns: pod, ifName: "net0"}
	l.refused(add, config, 7, device, "another sandbox has it: sriov-cni gave it to network namespace "+theirs)
	l.mustBe(before, "after the refusal")
	l.sh("ip netns del theirs") // and sriov-cni was never called for DEL
	l.must(add, config)
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
}

func TestGuestPluginStatus(t *testing.T) {
	l := newLab(t)
	config := conf{"cniVersion": "1.1.0", "name": "fast", "type": pluginName}
	l.must(call{command: "STATUS"}, config.with(conf{"master": "pf0", "ipam": conf{"type": "host-local", "subnet": "10.9.0.0/24"}}))
	l.refused(call{command: "STATUS"}, config.with(conf{"master": "nothere", "stateDir": "/proc/nothere"}), 50, "nothere", "state folder")
	l.refused(call{command: "STATUS"}, config.with(conf{"deviceID": "0000:09:00.0"}), 50, "0000:09:00.0")
	var said struct {
		Supported []string `json:"supportedVersions"`
	}
	check.Must(t, json.Unmarshal([]byte(l.must(call{command: "VERSION"}, config).stdout), &said))
	if diff := cmp.Diff(types.AllCNIVersions(), said.Supported); diff != "" {
		t.Error(diff)
	}
}

// Whoever is on the wire hears of the address. That IPv6 is announced too is for the
// tests in namespaces to show: no multicast of a VF was ever heard on the other emulated
// NIC.
func TestGuestPluginAnnounces(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod := l.netns("a")
	config := everything(l.vf(pf0, 0), "10.9.0.1/24").with(conf{"vlan": 0, "vlanQoS": nil, "trust": "off"})
	// The sender's MAC, its address, and as target no MAC and its own address.
	arp := firstOn(t, "pf1", []byte{0, 1, 2, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 1})
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	if !<-arp {
		t.Error("no gratuitous ARP on the wire")
	}
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
}

func TestGuestPluginDevices(t *testing.T) {
	l := newLab(t)
	out := l.sh(filepath.Join(os.Getenv(builtVar), "pf.test") + " -test.run TestGuestRead -test.v")
	if !strings.Contains(out, "--- PASS: TestGuestRead") {
		t.Error(out)
	}
	t.Log(out)
}
