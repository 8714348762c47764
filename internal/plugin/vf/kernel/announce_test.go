package kernel

import (
	"encoding/hex"
	"net"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

var mac = net.HardwareAddr{2, 0, 0, 0, 0, 9}

func TestARPFrame(t *testing.T) {
	ip := net.ParseIP("10.0.0.2").To4()
	for operation, want := range map[uint16]string{
		arpRequest: "ffffffffffff" + "020000000009" + "0806" + "0001080006040001" + "020000000009" + "0a000002" + "000000000000" + "0a000002",
		arpReply:   "ffffffffffff" + "020000000009" + "0806" + "0001080006040002" + "020000000009" + "0a000002" + "020000000009" + "0a000002",
	} {
		if got := hex.EncodeToString(arpFrame(mac, ip, operation)); got != want {
			t.Errorf("operation %d: %s, want %s", operation, got, want)
		}
	}
}

func TestAdvertisement(t *testing.T) {
	ip := net.ParseIP("fd00::2")
	frame := advertisement(mac, ip)
	want := "333300000001" + "020000000009" + "86dd" + "60000000" + "0020" + "3a" + "ff" +
		"fd000000000000000000000000000002" + "ff020000000000000000000000000001" + "8800"
	if got := hex.EncodeToString(frame[:14+40+2]); got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(frame[14+40+4:]), "20000000"+"fd000000000000000000000000000002"+"0201020000000009"; got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	// With its checksum in it, a message sums up to nothing.
	if sum := checksum(ip, net.ParseIP("ff02::1"), frame[14+40:]); sum != 0 {
		t.Errorf("the checksum is off by %#x", sum)
	}
}

func TestToRoute(t *testing.T) {
	link := &vf.Link{Index: 5}
	result := &current.Result{IPs: []*current.IPConfig{
		{Address: cidr("10.0.0.2/24"), Gateway: net.ParseIP("10.0.0.1")}, {Address: cidr("fd00::2/64"), Gateway: net.ParseIP("fd00::1")},
	}}
	table, scope := 100, 0
	for _, tc := range []struct {
		name string
		from cnitypes.Route
		want netlink.Route
	}{
		{"by the address's gateway", cnitypes.Route{Dst: cidr("0.0.0.0/0")}, netlink.Route{LinkIndex: 5, Gw: net.ParseIP("10.0.0.1")}},
		{"by its own", cnitypes.Route{Dst: cidr("0.0.0.0/0"), GW: net.ParseIP("10.0.0.9"), MTU: 1400, AdvMSS: 1360, Priority: 7, Table: &table, Scope: &scope}, netlink.Route{LinkIndex: 5, Gw: net.ParseIP("10.0.0.9"), MTU: 1400, AdvMSS: 1360, Priority: 7, Table: 100}},
		{"IPv6", cnitypes.Route{Dst: cidr("::/0")}, netlink.Route{LinkIndex: 5, Gw: net.ParseIP("fd00::1")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Dst = &tc.from.Dst
			if diff := cmp.Diff(tc.want, *toRoute(link, &tc.from, result)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := toRoute(link, &cnitypes.Route{Dst: cidr("10.9.0.0/16")}, &current.Result{}); got.Scope != netlink.SCOPE_LINK || got.Gw != nil {
		t.Errorf("without a gateway: %v", got)
	}
}

func cidr(s string) net.IPNet {
	ip, network, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	network.IP = ip
	return *network
}

func TestNamespace(t *testing.T) {
	for path, want := range map[string]bool{"": false, "/nothing": false, "/etc/hostname/x": false, "/etc/passwd": false, "/proc/self/ns/net": true} {
		if _, exists := (Links{}).Namespace(path); exists != want {
			t.Errorf("%q: %v", path, exists)
		}
	}
}
