package sriov

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
)

// What has a name that the VF's interface is to have, or was given one by others.
var namings = map[string]struct {
	before func(l *lab, netdev string) (ifName string) // before ADD
	inPod  string                                      // between ADD and DEL
}{
	"the pod's name is an alternative one": {before: func(l *lab, netdev string) string {
		l.sh("ip link property add dev " + netdev + " altname wan0")
		return "wan0"
	}},
	"the pod's name is udev's, on the host it has another": {before: func(l *lab, netdev string) string {
		l.sh("ip link set " + netdev + " down && ip link set " + netdev + " name fast0")
		return netdev
	}},
	"the pod's name is the host's": {before: func(_ *lab, netdev string) string { return netdev }},
	"the pod has an alternative name of its own": {before: func(l *lab, netdev string) string {
		l.sh("ip link property add dev " + netdev + " altname wan0; ip -n a link add wan0 type dummy")
		return "net0"
	}},
	"the pod gives it names, of the host's too": {inPod: "ip -n a link property add dev net0 altname pf0 altname mine0"},
	"the pod gives its name to another":         {inPod: "ip -n a link add NETDEV type dummy"},
	"the namespace is gone":                     {inPod: "ip netns del a"},
}

// Whatever names there are, beside a real udev, the VF is back under its own.
func TestGuestPluginNames(t *testing.T) {
	l := newLab(t)
	for name, naming := range namings {
		t.Run(name, func(t *testing.T) {
			l := &lab{t: t, cnis: l.cnis}
			pod, device := l.netns("a"), l.vf(pf0, 2)
			netdev, ifName := l.netdev(device), "net0"
			if naming.before != nil {
				ifName = naming.before(l, netdev)
			}
			before := l.snapshot()
			config := everything(device, "10.9.0.1/24")
			l.must(call{command: "ADD", netns: pod, ifName: ifName}, config)
			if parent := named(t, l.links(pod), ifName).Parent; parent != device {
				t.Errorf("%s of the pod is of %s, want %s", ifName, parent, device)
			}
			if naming.inPod != "" {
				l.sh(strings.ReplaceAll(naming.inPod, "NETDEV", netdev))
			}
			l.must(call{command: "DEL", netns: pod, ifName: ifName}, config)
			l.mustBe(before, "after DEL")
			now := l.netdev(device)
			l.sh("ip link property del dev " + now + " altname wan0 || true; [ " + now + " = " + netdev + " ] || { ip link property del dev " + now + " altname " + netdev + "; ip link set " + now + " name " + netdev + "; }")
			guest.AwaitFile(t, "/sys/class/net/"+netdev)
		})
	}
}
