package types

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckResult(t *testing.T) {
	old, middle, latest := []string{"0.1.0", "0.2.0"}, []string{"0.3.0", "0.3.1", "0.4.0"}, []string{"1.0.0", "1.1.0"}
	lists := slices.Concat(middle, latest)
	for name, test := range map[string]struct {
		versions []string
		result   string
		want     string // "" if it can be read
	}{
		"nothing":                    {lists, `{}`, ""},
		"nothing, of old":            {old, `{}`, ""},
		"null everywhere":            {lists, `{"interfaces": null, "ips": null, "routes": null, "dns": null}`, ""},
		"null everywhere, of old":    {old, `{"ip4": null, "ip6": null, "dns": null}`, ""},
		"everything":                 {lists, `{"interfaces": [{"name": "a"}, {"name": "eth0", "mac": "AnyText", "sandbox": "/s"}], "ips": [{"version": "4", "address": "192.0.2.7/24", "gateway": "", "interface": 1}, {"address": "2001:db8::7/64", "gateway": "fe80::1"}], "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1", "mtu": 1400, "table": 4294967295}], "dns": {"nameservers": ["x"], "domain": "d"}}`, ""},
		"everything, of old":         {old, `{"ip4": {"ip": "192.0.2.7/24", "gateway": "192.0.2.1", "routes": [{"dst": "0.0.0.0/0"}]}, "ip6": {"ip": "2001:db8::7/64"}}`, ""},
		"keys of another version":    {old, `{"ips": [{}], "routes": 7}`, ""},
		"keys of an older version":   {lists, `{"ip4": {}, "ip6": 7}`, ""},
		"keys that nobody knows":     {lists, `{"org.example": {"x": 1e400}, "ips": []}`, ""},
		"no interface, the old way":  {lists, `{"ips": [{"address": "192.0.2.7/24", "interface": -1}]}`, ""},
		"an IPv4 address as IPv6":    {lists, `{"ips": [{"address": "::ffff:192.0.2.7/120"}]}`, ""},
		"mtu, before there was one":  {middle, `{"interfaces": [{"name": "eth0", "mtu": "1500", "pciID": 7}]}`, ""},
		"version, where it is none":  {latest, `{"ips": [{"version": 4, "address": "192.0.2.7/24"}]}`, ""},
		"not an object":              {lists, `[]`, "must be a JSON object, got an array"},
		"an empty address":           {lists, `{"ips": [{}]}`, "ips[0].address: is missing"},
		"a second one":               {lists, `{"ips": [{"address": "192.0.2.7/24"}, {"gateway": "192.0.2.1"}]}`, "ips[1].address: is missing"},
		"an address that is null":    {lists, `{"ips": [{"address": null}]}`, "ips[0].address: is missing"},
		"an address of no length":    {lists, `{"ips": [{"address": "192.0.2.7"}]}`, `ips[0].address: "192.0.2.7" is not an address`},
		"an address that is none":    {lists, `{"ips": [{"address": "<nil>"}]}`, `ips[0].address: "<nil>" is not an address`},
		"an address that is a list":  {lists, `{"ips": [{"address": ["192.0.2.7/24"]}]}`, "ips[0].address: must be a string"},
		"a prefix that IPv4 has not": {lists, `{"routes": [{"dst": "::ffff:192.0.2.0/64"}]}`, `routes[0].dst: "::ffff:192.0.2.0/64" is an IPv4 address`},
		"an address of null":         {lists, `{"ips": [null]}`, "ips[0]: must be a JSON object, got null"},
		"a gateway that is none":     {lists, `{"ips": [{"address": "192.0.2.7/24", "gateway": "192.0.2.1/24"}]}`, `ips[0].gateway: "192.0.2.1/24" is not an IP address`},
		"a name for an index":        {lists, `{"interfaces": [{"name": "eth0"}], "ips": [{"address": "192.0.2.7/24", "interface": "eth0"}]}`, "ips[0].interface: must be a whole number"},
		"version, a number":          {middle, `{"ips": [{"version": 4, "address": "192.0.2.7/24"}]}`, "ips[0].version: must be a string"},
		"ips, an object":             {lists, `{"ips": {}}`, "ips: must be an array"},
		"an empty route":             {lists, `{"routes": [{}]}`, "routes[0].dst: is missing"},
		"a route to default":         {lists, `{"routes": [{"dst": "default"}]}`, `routes[0].dst: "default" is not an address`},
		"a route's gateway":          {lists, `{"routes": [{"dst": "10.0.0.0/8", "gw": "fe80::1%eth0"}]}`, `routes[0].gw: "fe80::1%eth0" is not an IP address`},
		"a route's priority":         {lists, `{"routes": [{"dst": "10.0.0.0/8", "priority": 9223372036854775807}]}`, "routes[0].priority: is 9223372036854775807"},
		"a route's table":            {lists, `{"routes": [{"dst": "10.0.0.0/8", "table": "main"}]}`, "routes[0].table: must be a whole number"},
		"an interface of no name":    {lists, `{"interfaces": [{"name": "eth0"}, {"sandbox": "/s"}]}`, "interfaces[1].name: is missing"},
		"an empty name":              {lists, `{"interfaces": [{"name": ""}]}`, "interfaces[0].name: is missing"},
		"a name that is null":        {lists, `{"interfaces": [{"name": null}]}`, "interfaces[0].name: is missing"},
		"a name that is a number":    {lists, `{"interfaces": [{"name": 0}]}`, "interfaces[0].name: must be a string"},
		"an MTU that is a string":    {latest, `{"interfaces": [{"name": "eth0", "mtu": "1500"}]}`, "interfaces[0].mtu: must be a whole number"},
		"a sandbox that is none":     {lists, `{"interfaces": [{"name": "eth0", "sandbox": true}]}`, "interfaces[0].sandbox: must be a string"},
		"dns, a string":              {lists, `{"dns": "192.0.2.53"}`, "dns: must be a JSON object"},
		"one nameserver":             {slices.Concat(old, lists), `{"dns": {"nameservers": "192.0.2.53"}}`, "dns.nameservers: must be an array"},
		"an option that is a number": {lists, `{"dns": {"options": [5]}}`, "dns.options: must be"},
		"two spellings":              {lists, `{"ips": [], "IPs": [{}]}`, `IPs: stands beside "ips"`},
		"old, an empty address":      {old, `{"ip4": {}}`, "ip4.ip: is missing"},
		"old, the other family":      {old, `{"ip6": {"gateway": "fe80::1"}}`, "ip6.ip: is missing"},
		"old, an empty route":        {old, `{"ip4": {"ip": "192.0.2.7/24", "routes": [{"dst": "0.0.0.0/0"}, {}]}}`, "ip4.routes[1].dst: is missing"},
		"old, a route of null":       {old, `{"ip4": {"ip": "192.0.2.7/24", "routes": [null]}}`, "ip4.routes[0]: must be a JSON object, got null"},
		"of the future":              {[]string{"1.2.0", "0.3.2", ""}, `{}`, "is not one of 0.1.0, "},
	} {
		for _, version := range test.versions {
			err := CheckResult([]byte(test.result), version)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s, %s: got %v, want %q", name, version, err, test.want)
			}
		}
	}
}

// One error says all.
func TestCheckResultReportsEverything(t *testing.T) {
	err := CheckResult([]byte(`{"interfaces": [{}], "ips": [{}, null], "routes": [{}], "dns": []}`), "1.0.0")
	for _, want := range []string{"interfaces[0].name", "ips[0].address", "ips[1]", "routes[0].dst", "dns"} {
		if err == nil || !strings.Contains(err.Error(), want+": ") {
			t.Errorf("does not name %s: %v", want, err)
		}
	}
}
