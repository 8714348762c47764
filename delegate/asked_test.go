package delegate

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// What a result says about the pod's interfaces is compared by value, and what it says besides
// does not matter.
func TestAskedOfAResult(t *testing.T) {
	const interfaces = `"interfaces": [{"name": "br0", "mac": "02:00:00:00:00:01"}, {"name": "net0", "mac": "02:00:00:00:00:07", "sandbox": "/ns"}]`
	result := func(ips string) string { return `{"cniVersion": "1.0.0", ` + interfaces + `, "ips": [` + ips + `]}` }
	for name, c := range map[string]struct {
		result  string
		ips     []string
		mac     string
		missing []string
		hasMAC  bool
	}{
		"nothing is asked":         {result: result(""), hasMAC: true},
		"with the prefix":          {result: result(`{"address": "192.0.2.7/24"}`), ips: []string{"192.0.2.7/24"}, hasMAC: true},
		"with another prefix":      {result: result(`{"address": "192.0.2.7/25", "interface": 1}`), ips: []string{"192.0.2.7/24"}, hasMAC: true},
		"without prefix":           {result: result(`{"address": "2001:db8::7/64"}`), ips: []string{"2001:0db8:0::7"}, hasMAC: true},
		"IPv4 as IPv6":             {result: result(`{"address": "192.0.2.7/24"}`), ips: []string{"::ffff:192.0.2.7"}, hasMAC: true},
		"more, in another order":   {result: result(`{"address": "2001:db8::7/64"}, {"address": "192.0.2.9/24"}, {"address": "192.0.2.7/24"}`), ips: []string{"192.0.2.7", "2001:db8::7"}, hasMAC: true},
		"one of two":               {result: result(`{"address": "192.0.2.7/24"}`), ips: []string{"192.0.2.7/24", "2001:db8::7/64"}, missing: []string{"2001:db8::7/64"}, hasMAC: true},
		"of the host":              {result: result(`{"address": "192.0.2.7/24", "interface": 0}`), ips: []string{"192.0.2.7"}, missing: []string{"192.0.2.7"}, hasMAC: true},
		"of no interface, as once": {result: `{"cniVersion": "0.3.1", "ips": [{"version": "4", "interface": -1, "address": "192.0.2.7/24"}]}`, ips: []string{"192.0.2.7"}, hasMAC: true},
		"of an old version":        {result: `{"cniVersion": "0.2.0", "ip4": {"ip": "192.0.2.7/24"}}`, ips: []string{"192.0.2.7"}, mac: "02:00:00:00:00:07"},
		"MAC in other letters":     {result: result(""), mac: "0200.0000.0007", hasMAC: true},
		"MAC with dashes":          {result: result(""), mac: "02-00-00-00-00-07", hasMAC: true},
		"MAC of the host":          {result: result(""), mac: "02:00:00:00:00:01"},
		"no result":                {result: `{"cniVersion": "1.0.0"}`, ips: []string{"192.0.2.7"}, mac: "02:00:00:00:00:07", missing: []string{"192.0.2.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, _, err := parseResult([]byte(c.result))
			if err != nil {
				t.Fatal(err)
			}
			has := addressingIn(parsed)
			if diff := cmp.Diff(c.missing, has.missing(c.ips)); len(c.missing)+len(has.missing(c.ips)) > 0 && diff != "" {
				t.Errorf("missing addresses (-want +got):\n%s", diff)
			}
			if has.hasMAC(c.mac) != c.hasMAC {
				t.Errorf("has the MAC address: %v", has.hasMAC(c.mac))
			}
		})
	}
}

// Where a plugin declares the capability, silence about a device that is no network interface is
// no failure. What is known and is another is one.
func TestAskedAndNotGiven(t *testing.T) {
	for name, c := range map[string]struct {
		has      string
		known    bool
		declared bool
		want     string
	}{
		"another":              {"192.0.2.9", false, false, `ips: the pod asks for 192.0.2.7, but the attachment has 192.0.2.9: no plugin of the network declares the capability "ips", and none did it by CNI_ARGS: declare it`},
		"nobody says":          {"", false, false, `ips: the pod asks for 192.0.2.7, but the attachment has none: no plugin of the network declares the capability "ips", and none did it by CNI_ARGS: declare it`},
		"another, declared":    {"192.0.2.9", true, true, `ips: the pod asks for 192.0.2.7, but the attachment has 192.0.2.9: the plugin that declares the capability "ips" does not do it`},
		"none, declared":       {"", true, true, `ips: the pod asks for 192.0.2.7, but the attachment has none: the plugin that declares the capability "ips" does not do it`},
		"nobody says declared": {"", false, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := &types.Attachment{}
			if c.declared {
				a.CapabilityArgs = map[string]json.RawMessage{"ips": json.RawMessage(`["192.0.2.7"]`)}
			}
			got := ""
			if err := notGiven(a, "ips", "192.0.2.7", c.has, c.known); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An error lists some addresses, however many the pod asks for.
func TestAskedForMany(t *testing.T) {
	a := &types.Attachment{IPs: slices.Repeat([]string{"192.0.2.7"}, 1024)}
	has := &addressing{ips: slices.Repeat([]netip.Addr{netip.MustParseAddr("192.0.2.9")}, 17)}
	err := has.checkIPs(a)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.7 and 1008 more, but") || !strings.Contains(err.Error(), "192.0.2.9 and 1 more:") {
		t.Errorf("got %v", err)
	}
}
