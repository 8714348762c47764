package sriov

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What a pod with NET_ADMIN changed of its interface does not go to the next pod: after DEL, and after one
// whose namespace died before.
func TestGuestPluginTraits(t *testing.T) {
	l := newLab(t)
	for name, end := range map[string]func(l *lab){
		"DEL":              func(*lab) {},
		"a dead namespace": func(l *lab) { l.sh("ip netns del a") },
	} {
		t.Run(name, func(t *testing.T) {
			l := &lab{t: t, cnis: l.cnis}
			device := l.vf(pf0, 2)
			before, was := l.snapshot(), l.traits(device)
			pod := l.netns("a")
			config := everything(device, "10.9.0.1/24")
			l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
			l.sh("ip -n a link set net0 promisc on allmulticast on multicast off txqueuelen 7 alias mine group 9; " +
				"ip netns exec a ethtool -K net0 rx off tx off gso off; ip netns exec a ethtool -G net0 rx 128 tx 96; ip netns exec a ethtool -C net0 rx-usecs 50")
			end(l)
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			l.mustBe(before, "after DEL")
			if diff := cmp.Diff(was, l.traits(device)); diff != "" {
				t.Errorf("-before +now:\n%s", diff)
			}
		})
	}
}

// traits gives what iproute2 and ethtool say of a VF's interface on the host.
func (l *lab) traits(device string) map[string]string {
	l.t.Helper()
	name := l.sh("ls /sys/bus/pci/devices/" + device + "/net")
	var links []map[string]any
	check.Must(l.t, json.Unmarshal([]byte(l.sh("ip -j -d link show dev "+name)), &links))
	all := map[string]string{}
	for _, key := range []string{"flags", "txqlen", "ifalias", "group", "promiscuity", "allmulti"} {
		data, err := json.Marshal(links[0][key])
		check.Must(l.t, err)
		all[key] = string(data)
	}
	for _, show := range []string{"-k", "-g", "-c"} {
		_, all["ethtool "+show], _ = strings.Cut(l.sh("ethtool "+show+" "+name), "\n")
	}
	return all
}
