package sriov

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// network is a NetworkAttachmentDefinition of the test.
type network struct {
	name   string
	config conf
}

// plexusConfig is plexus's own configuration, with a folder of manifests of the test: a
// pod for each of pods, by its name, with its annotation.
func (l *lab) plexusConfig(pods map[string]string, networks ...network) conf {
	l.t.Helper()
	dir := l.t.TempDir()
	write := func(name string, object conf) {
		data, err := json.Marshal(object)
		check.Must(l.t, err)
		check.Must(l.t, os.WriteFile(filepath.Join(dir, name+".json"), data, 0o600))
	}
	for name, annotation := range pods {
		write("pod-"+name, conf{"apiVersion": "v1", "kind": "Pod", "metadata": conf{
			"name": name, "namespace": "default", "annotations": conf{"k8s.v1.cni.cncf.io/networks": annotation},
		}})
	}
	for _, n := range networks {
		config, err := json.Marshal(n.config)
		check.Must(l.t, err)
		write("network-"+n.name, conf{
			"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
			"metadata": conf{"name": n.name, "namespace": "default"}, "spec": conf{"config": string(config)},
		})
	}
	return conf{
		"cniVersion": "1.1.0", "name": "cluster", "type": "plexus", "agentSocket": "", "manifests": dir, "cniDir": "/var/lib/cni", "result": "all",
		"delegates": []conf{{
			"cniVersion": "1.1.0", "name": "podnet", "type": "bridge", "bridge": "cni0", "isGateway": true,
			"ipam": conf{"type": "host-local", "subnet": "10.244.0.0/24"},
		}},
	}
}

// plexus is a call of plexus for a pod of the name of its namespace.
func plexus(command, netns string) call {
	name := filepath.Base(netns)
	return call{
		command: command, netns: netns, ifName: "eth0", container: "sandbox-" + name, plugin: filepath.Join(os.Getenv("PLEXUS_BIN"), "plexus"),
		args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + name,
	}
}

// static is a network of one VF with an address.
func (l *lab) static(name, device string, vlan int, address string) network {
	trust := "on"
	if strings.HasPrefix(name, "red") {
		trust = "off" // its VF must not say its MAC itself
	}
	return network{name, conf{
		"cniVersion": "1.0.0", "name": name, "type": pluginName, "deviceID": device, "vlan": vlan, "trust": trust, "spoofchk": "on", "max_tx_rate": 100,
		"capabilities": conf{"mac": true, "CNIDeviceInfoFile": true},
		"ipam":         conf{"type": "static", "addresses": []conf{{"address": address}}},
	}}
}

// A pod with two VFs and the cluster's network, another in the same VLANs, on the other
// NIC, and a third in none of them.
func TestGuestPod(t *testing.T) {
	l := newLab(t)
	l.sh("rm -rf /var/run/k8s.cni.cncf.io")
	before := l.snapshot()
	config := l.plexusConfig(map[string]string{
		"one":   `[{"name":"red-one","mac":"02:00:00:00:01:01"},{"name":"blue-one"}]`,
		"two":   "red-two,blue-two",
		"three": "plain",
	},
		l.static("red-one", l.vf(pf0, 0), 100, "10.10.0.1/24"), l.static("blue-one", l.vf(pf0, 1), 200, "10.10.1.1/24"),
		l.static("red-two", l.vf(pf0, 2), 100, "10.10.0.2/24"), l.static("blue-two", l.vf(pf1, 1), 200, "10.10.1.2/24"),
		l.static("plain", l.vf(pf0, 3), 300, "10.10.0.3/24"),
	)
	one, two, three := l.netns("one"), l.netns("two"), l.netns("three")
	wire := firstTagOn(t, "pf1")
	for _, pod := range []string{one, two, three} {
		l.must(plexus("ADD", pod), config)
	}
	if diff := cmp.Diff([]string{"eth0", "lo", "net0", "net1"}, names(l.links(one))); diff != "" {
		t.Error(diff)
	}
	vfs := l.settings("pf0")
	got := fmt.Sprint(vfs[0]["address"], " ", vfs[0]["vlan_list"], vfs[0]["trust"], vfs[0]["rate"], vfs[1]["vlan_list"], vfs[1]["trust"])
	if want := "02:00:00:00:01:01 [map[vlan:100]] false map[max_tx:100 min_tx:0] [map[vlan:200]] true"; got != want {
		t.Errorf("the PF keeps %s, want %s", got, want)
	}
	if mac := named(t, l.links(one), "net0").MAC; mac != "02:00:00:00:01:01" {
		t.Errorf("in the pod the MAC is %s", mac)
	}
	l.checkDeviceInfo(one)

	check.Eventually(t, "a ping in the VLAN, on one NIC", patience, func() bool { return ping(one, "10.10.0.2") == nil })
	check.Eventually(t, "a ping in the VLAN, over the wire", patience, func() bool { return ping(one, "10.10.1.2") == nil })
	if ping(three, "10.10.0.1") == nil || ping(one, "10.10.0.3") == nil {
		t.Error("a ping across VLANs was answered")
	}
	if tag := <-wire; tag != 200 && tag != 100 {
		t.Errorf("on the wire the tag is %d", tag)
	}
	l.ways()
	for _, pod := range []string{one, two, three} {
		l.must(plexus("CHECK", pod), config.with(conf{"prevResult": conf{"cniVersion": "1.1.0", "interfaces": []conf{}}}))
		l.must(plexus("DEL", pod), config)
	}
	l.mustBe(before, "after DEL")
}

// checkDeviceInfo demands that plexus's journal has the device of each VF in the status.
func (l *lab) checkDeviceInfo(pod string) {
	l.t.Helper()
	record := l.record(pod)
	for n := range 2 {
		want := `"pci":{"pci-address":"` + l.vf(pf0, n) + `","pf-pci-address":"` + pf0 + `"}`
		if !strings.Contains(record, want) {
			l.t.Errorf("the record does not say %s: %s", want, record)
		}
	}
}

// record gives what plexus's journal has of a pod.
func (l *lab) record(pod string) string {
	l.t.Helper()
	files, err := filepath.Glob(plexusDir + "/sandbox-" + filepath.Base(pod) + "@*.jsonl")
	check.Must(l.t, err)
	if len(files) != 1 {
		l.t.Fatalf("records: %v", files)
	}
	record, err := os.ReadFile(files[0])
	check.Must(l.t, err)
	return string(record)
}

// The same VFs with the reference plugin.
func TestGuestPodHostDevice(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	hostDevice := func(name string, vf int, address string) network {
		return network{name, conf{
			"cniVersion": "1.0.0", "name": name, "type": "host-device", "pciBusID": l.vf(pf0, vf),
			"ipam": conf{"type": "static", "addresses": []conf{{"address": address}}},
		}}
	}
	config := l.plexusConfig(map[string]string{"one": "a,b", "two": "c"},
		hostDevice("a", 0, "10.10.0.1/24"), hostDevice("b", 3, "10.10.1.1/24"), hostDevice("c", 2, "10.10.0.2/24"))
	one, two := l.netns("one"), l.netns("two")
	l.must(plexus("ADD", one), config)
	l.must(plexus("ADD", two), config)
	if diff := cmp.Diff([]string{"eth0", "lo", "net0", "net1"}, names(l.links(one))); diff != "" {
		t.Error(diff)
	}
	check.Eventually(t, "a ping", patience, func() bool { return ping(one, "10.10.0.2") == nil })
	l.must(plexus("DEL", one), config)
	l.must(plexus("DEL", two), config)
	l.mustBe(before, "after DEL")
}

// rounds of two VFs in one pod: a hundred ADDs, and as many DELs.
const rounds = 50

func TestGuestRounds(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	one := l.netns("one")
	config := everything("", "").with(conf{"ipam": conf{"type": "host-local", "subnet": "10.9.0.0/24"}})
	for range rounds {
		for vf := range 2 {
			l.must(call{command: "ADD", netns: one, ifName: fmt.Sprintf("net%d", vf)}, config.with(conf{"deviceID": l.vf(pf0, vf), "mac": fmt.Sprintf("02:00:00:00:00:%02x", vf)}))
		}
		for vf := range 2 {
			l.must(call{command: "DEL", netns: one, ifName: fmt.Sprintf("net%d", vf)}, config.with(conf{"deviceID": l.vf(pf0, vf)}))
		}
	}
	l.mustBe(before, "after all rounds")
	if left := names(l.links(one)); len(left) != 1 {
		t.Errorf("in the pod there are still %v", left)
	}
}
