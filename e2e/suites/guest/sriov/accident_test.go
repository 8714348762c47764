package sriov

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// Accidents after which one DEL, with the configuration of the ADD, has to bring back the
// exact state before.
var accidents = map[string]func(l *lab, pod, device string){
	"the namespace is gone": func(l *lab, _, _ string) { l.sh("ip netns del a") },
	"the namespace is gone, and the pod's name is taken on the host": func(l *lab, _, _ string) {
		l.sh("ip link add net0 type dummy; ip netns del a")
	},
	"the interface has another name": func(l *lab, _, _ string) {
		l.sh("ip -n a link set net0 down; ip -n a link set net0 name other0; ip -n a link set other0 up")
	},
	"the interface is in another namespace": func(l *lab, _, _ string) {
		l.netns("elsewhere")
		l.sh("ip -n a link set net0 netns elsewhere")
	},
	"the interface is on the host already, under a name of udev's": func(l *lab, _, device string) {
		l.sh("ip -n a link set net0 down; ip -n a link set net0 name udev0; ip -n a link set udev0 netns 1")
	},
	"somebody else set the VF": func(l *lab, _, _ string) {
		l.sh("ip link set pf0 vf 1 vlan 9; ip link set pf0 vf 1 trust off; ip link set pf0 vf 1 spoofchk off; ip -n a link set net0 mtu 1300")
	},
	"the VF was reset": func(l *lab, _, device string) {
		l.sh("echo " + device + " > /sys/bus/pci/drivers/igbvf/unbind; echo " + device + " > /sys/bus/pci/drivers/igbvf/bind")
		guest.AwaitFile(l.t, "/sys/bus/pci/devices/"+device+"/net/*")
	},
}

func TestGuestAccident(t *testing.T) {
	l := newLab(t)
	for name, accident := range accidents {
		t.Run(name, func(t *testing.T) {
			l := &lab{t: t, cnis: l.cnis}
			before := l.snapshot()
			pod, device := l.netns("a"), l.vf(pf0, 1)
			config := everything(device, "10.9.0.1/24")
			l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
			accident(l, pod, device)
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			_ = exec.Command("ip", "link", "del", "dev", "net0", "type", "dummy").Run()
			l.mustBe(before, "after DEL")
			l.must(call{command: "DEL", ifName: "net0"}, config)
			l.mustBe(before, "after a second DEL, without a namespace")
		})
	}
}

// The lab waits for the link of the PF before each ADD, which else could not set a rate: when the PF is
// brought up, and when its driver resets it.
func TestGuestAccidentLinkLost(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod, device := l.netns("a"), l.vf(pf0, 2)
	config := everything(device, "10.9.0.1/24")
	for _, lose := range []string{"ip link set pf0 down && ip link set pf0 up", "ethtool -r pf0"} {
		l.sh(lose)
		l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
		l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
		l.mustBe(before, lose)
	}
}

// Without the state the old name is lost, and settings go back to the drivers' defaults.
func TestGuestAccidentDelWithoutState(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod, device := l.netns("a"), l.vf(pf0, 2)
	config := everything(device, "10.9.0.1/24").with(hostLocal())
	for name, lose := range map[string]func(path string) error{
		"it is gone":    os.Remove,
		"it is damaged": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
		check.Must(t, lose(filepath.Join(stateDir, device+"@c1@net0.json")))
		l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
		l.sh("rm -f " + stateDir + "/*.corrupt*")
		link := named(t, l.links(""), "vf"+strings.NewReplacer(":", "", ".", "").Replace(device))
		now := l.settings("pf0")[2]
		if got := fmt.Sprint(now["vlan_list"], now["trust"], now["spoofchk"], now["rate"]); got != "[map[]] false true map[max_tx:0 min_tx:0]" {
			t.Errorf("%s: the PF keeps %s of the VF", name, got)
		}
		old := strings.Fields(before.Links[device])
		// By now that is an alternative name, of udev's.
		l.settle()
		l.sh("ip link property del dev " + link.Name + " altname " + old[0] + " && ip link set " + link.Name + " name " + old[0] + " && ip link set " + old[0] + " address " + old[1])
		l.mustBe(before, name+": after DEL, and a rename by hand")
	}
}

// A DEL that comes first, or late, touches nothing that is another's.
func TestGuestAccidentDelOfOthers(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	config := everything(l.vf(pf0, 1), "10.9.0.1/24")
	late := call{command: "DEL", netns: l.netns("late"), ifName: "net0", container: "late"}
	l.must(late, config)
	l.mustBe(before, "after a DEL that came first")
	pod := l.netns("a")
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	l.must(late, config)
	l.look(pod, 1, "10.9.0.1")
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after DEL")
	l.must(late, config)
	l.mustBe(before, "after a late DEL")
}

func TestGuestAccidentDeadSandboxes(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	config := everything(l.vf(pf0, 1), "10.9.0.1/24").with(hostLocal())
	dead := l.netns("dead")
	l.must(call{command: "ADD", netns: dead, ifName: "net0", container: "dead"}, config)
	l.sh("ip netns del dead")
	// An ADD for another pod releases what the dead one had.
	pod := l.netns("a")
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	address := named(t, l.links(pod), "net0").Address[0].Local
	l.look(pod, 1, address)
	gc := func(valid ...conf) conf {
		return config.with(conf{"cni.dev/valid-attachments": append([]conf{}, valid...)})
	}
	l.refused(call{command: "GC"}, config, 7, "cni.dev/valid-attachments")
	l.must(call{command: "GC"}, gc(conf{"containerID": "c1", "ifname": "net0"}))
	l.look(pod, 1, address)
	l.must(call{command: "GC"}, gc().with(conf{"name": "other"}))
	l.look(pod, 1, address)
	l.must(call{command: "GC"}, gc())
	l.mustBe(before, "after GC")
}

// maxKillPoints bounds the search for the last kill point.
const maxKillPoints = 200

// Killed at any step of an ADD, one DEL brings everything back; so it does when it is
// itself killed at any step, and comes again.
func TestGuestKill(t *testing.T) { newLab(t).killAtEvery(1) }

// A sample of the same, for every run of the continuous integration.
func TestGuestSomeKills(t *testing.T) { newLab(t).killAtEvery(5) }

// killAtEvery kills ADD and DEL at one in so many of their kill points, from the first to
// the last of them.
func (l *lab) killAtEvery(stride int) {
	l.t.Helper()
	plugin := filepath.Join(os.Getenv(builtVar), pluginName)
	before := l.snapshot()
	pod := l.netns("a")
	config := everything(l.vf(pf0, 1), "10.9.0.1/24").with(hostLocal()).with(conf{"runtimeConfig": conf{"CNIDeviceInfoFile": infoDir + "/info"}})
	kill := func(command string, at int) answer {
		return l.call(call{command: command, netns: pod, ifName: "net0", plugin: plugin, env: []string{fmt.Sprintf("PLEXUS_SRIOV_KILL_AT=%d", at)}}, config)
	}
	for command, first := range map[string]func(){
		"ADD": func() {},
		"DEL": func() { l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config) },
	} {
		at := stride
		for ; at < maxKillPoints; at += stride {
			first()
			a := kill(command, at)
			if a.ok != !a.killed {
				l.t.Fatalf("%s, kill point %d: %+v", command, at, a)
			}
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			l.mustBe(before, fmt.Sprintf("after %s was killed at point %d, and DEL", command, at))
			if a.ok {
				break
			}
		}
		l.t.Logf("%s was killed at %d of its kill points, which are fewer than %d", command, at/stride-1, at)
		if at < 10 || at >= maxKillPoints {
			l.t.Errorf("%s has fewer than %d kill points: is this a build with the tag killpoints?", command, at)
		}
	}
}

// After a kill at any step the runtime may call ADD again instead.
func TestGuestKillThenAdd(t *testing.T) {
	l := newLab(t)
	plugin := filepath.Join(os.Getenv(builtVar), pluginName)
	before := l.snapshot()
	pod := l.netns("a")
	config := everything(l.vf(pf0, 0), "10.9.0.1/24")
	add := call{command: "ADD", netns: pod, ifName: "net0"}
	for at := 1; at < maxKillPoints; at++ {
		killing := add
		killing.plugin, killing.env = plugin, []string{fmt.Sprintf("PLEXUS_SRIOV_KILL_AT=%d", at)}
		if a := l.call(killing, config); a.ok {
			break
		}
		if a := l.call(add, config); !a.ok && !strings.Contains(a.Msg, "is attached already") {
			t.Fatalf("killed at point %d, then ADD: %s", at, a.Msg)
		}
		l.look(pod, 0, "10.9.0.1")
		l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
		l.mustBe(before, fmt.Sprintf("killed at point %d, ADD, DEL", at))
	}
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "at the end")
}
