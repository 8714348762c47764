package sriov

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
)

// A VF that a process drives: settings and addresses, and no interface.
func TestGuestUserSpace(t *testing.T) {
	l := newLab(t)
	device := l.vf(pf0, 0)
	l.sh("modprobe vfio-pci; echo " + device + " > /sys/bus/pci/devices/" + device + "/driver/unbind; " +
		"echo vfio-pci > /sys/bus/pci/devices/" + device + "/driver_override; echo " + device + " > /sys/bus/pci/drivers_probe")
	guest.AwaitFile(t, "/sys/bus/pci/drivers/vfio-pci/"+device)
	before := l.snapshot()
	pod := l.netns("a")
	info := filepath.Join(t.TempDir(), "info")
	config := everything(device, "10.9.0.1/24").with(conf{"runtimeConfig": conf{"CNIDeviceInfoFile": info}}).with(hostLocal())
	a := l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	want := `{"cniVersion":"1.1.0","interfaces":[{"mac":"02:11:22:33:44:55","name":"net0","pciID":"` + device + `","sandbox":"` + pod + `"}],` +
		`"ips":[{"address":"10.9.0.2/24","gateway":"10.9.0.1","interface":0}],"routes":[{"dst":"` + routeDst + `"}]}`
	if got := canonical(t, a.stdout); got != want {
		t.Errorf("result: %s, want %s", got, want)
	}
	if now := l.settings("pf0")[0]; fmt.Sprint(now["address"], now["vlan_list"], now["trust"]) != "02:11:22:33:44:55[map[qos:3 vlan:100]] true" {
		t.Errorf("the PF keeps %v", now)
	}
	if said, err := os.ReadFile(info); err != nil || string(said) != `{"type":"pci","version":"1.1.0","pci":{"pci-address":"`+device+`","pf-pci-address":"`+pf0+`"}}` {
		t.Errorf("device information: %s, %v", said, err)
	}
	l.must(call{command: "CHECK", netns: pod, ifName: "net0"}, config.with(conf{"prevResult": map[string]any{"cniVersion": "1.1.0"}}))
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	l.sh("rm " + stateDir + "/*.json")
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	if now := l.settings("pf0")[0]; fmt.Sprint(now["address"], now["vlan_list"], now["trust"]) != "00:00:00:00:00:00[map[]] false" {
		t.Errorf("without a state: the PF keeps %v", now)
	}
}
