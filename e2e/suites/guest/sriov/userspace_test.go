package sriov

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// A VF that a process drives: settings and addresses, and no interface.
func TestGuestUserSpace(t *testing.T) {
	l := newLab(t)
	device := l.vf(pf0, 0)
	l.toProcess(device)
	l.setMTU("pf0", 9000)
	t.Cleanup(func() { l.setMTU("pf0", 1500) })
	before := l.snapshot()
	pod := l.netns("a")
	info := filepath.Join(t.TempDir(), "info")
	config := everything(device, "10.9.0.1/24").with(conf{"runtimeConfig": conf{"CNIDeviceInfoFile": info}}).with(hostLocal())
	a := l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	want := `{"cniVersion":"1.1.0","interfaces":[{"mac":"02:11:22:33:44:55","mtu":9000,"name":"net0","pciID":"` + device + `","sandbox":"` + pod + `"}],` +
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

// The status of a pod has the PF's MTU for a VF that a process drives.
func TestGuestUserSpaceStatus(t *testing.T) {
	l := newLab(t)
	device := l.vf(pf0, 1)
	l.toProcess(device)
	before := l.snapshot()
	config := l.plexusConfig(map[string]string{"one": `[{"name":"fast","mac":"02:00:00:00:00:05"}]`}, l.static("fast", device, 100, "10.10.0.1/24"))
	one := l.netns("one")
	for _, mtu := range []int{1500, 4000} {
		l.setMTU("pf0", mtu)
		l.must(plexus("ADD", one), config)
		if record, want := l.record(one), fmt.Sprintf(`"mac":"02:00:00:00:00:05","mtu":%d`, mtu); strings.Count(record, want) != 2 {
			t.Errorf("result and status do not both say %s: %s", want, record)
		}
		l.must(plexus("DEL", one), config)
		l.setMTU("pf0", 1500)
		l.mustBe(before, "after DEL")
	}
}

// setMTU sets the MTU of a PF, which starts it anew, and waits for its link: without one it refuses a
// rate.
func (l *lab) setMTU(pf string, mtu int) {
	l.t.Helper()
	l.sh(fmt.Sprintf("ip link set %s mtu %d", pf, mtu))
	check.Eventually(l.t, "a link of "+pf, patience, func() bool {
		carrier, _ := os.ReadFile("/sys/class/net/" + pf + "/carrier")
		return string(carrier) == "1\n"
	})
}

// toProcess binds a VF to vfio-pci.
func (l *lab) toProcess(device string) {
	l.t.Helper()
	l.sh("modprobe vfio-pci; echo " + device + " > /sys/bus/pci/devices/" + device + "/driver/unbind; " +
		"echo vfio-pci > /sys/bus/pci/devices/" + device + "/driver_override; echo " + device + " > /sys/bus/pci/drivers_probe")
	guest.AwaitFile(l.t, "/sys/bus/pci/drivers/vfio-pci/"+device)
}
