package types

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func testStatus() []NetworkStatus {
	return []NetworkStatus{
		{Name: "cbr0", Interface: "eth0", IPs: []string{"10.1.0.5"}, MAC: "02:00:00:00:00:01", MTU: 1450, Default: true, DNS: DNS{Nameservers: []string{"10.0.0.10"}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}}},
		{
			Name: "ns/a", Interface: "net0", DefaultRoute: []string{"10.2.0.1"}, Gateway: []string{"10.2.0.1"},
			DeviceInfo: &DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &PCIDevice{PCIAddress: "0000:03:02.1", PFPCIAddress: "0000:03:00.0"}},
		},
		{Name: "ns/b"},
	}
}

// TestFormatStatus holds the exact text: the order of the fields is part of it.
func TestFormatStatus(t *testing.T) {
	got, err := FormatStatus(testStatus())
	if err != nil {
		t.Fatal(err)
	}
	const want = `[
    {
        "name": "cbr0",
        "interface": "eth0",
        "ips": [
            "10.1.0.5"
        ],
        "mac": "02:00:00:00:00:01",
        "mtu": 1450,
        "default": true,
        "dns": {
            "nameservers": [
                "10.0.0.10"
            ],
            "domain": "d",
            "search": [
                "s"
            ],
            "options": [
                "o"
            ]
        }
    },
    {
        "name": "ns/a",
        "interface": "net0",
        "default": false,
        "device-info": {
            "type": "pci",
            "version": "1.1.0",
            "pci": {
                "pci-address": "0000:03:02.1",
                "pf-pci-address": "0000:03:00.0"
            }
        },
        "default-route": [
            "10.2.0.1"
        ],
        "gateway": [
            "10.2.0.1"
        ]
    },
    {
        "name": "ns/b",
        "default": false
    }
]`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	back, err := ParseStatus(got)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, testStatus(), back)
}

func TestFormatStatusOfNone(t *testing.T) {
	for _, status := range [][]NetworkStatus{nil, {}} {
		if got, err := FormatStatus(status); err != nil || got != "[]" {
			t.Errorf("of %#v it is %q, %v", status, got, err)
		}
	}
}

func TestParseStatusRefused(t *testing.T) {
	for _, value := range []string{"", "{}", `[{"name":1}]`, `[{"name":"a"}`, `[{"default":"yes"}]`} {
		t.Run(value, func(t *testing.T) {
			_, err := ParseStatus(value)
			check.Error(t, err, "annotation k8s.v1.cni.cncf.io/network-status: ")
		})
	}
}

func TestDNSIsZero(t *testing.T) {
	if !(DNS{Nameservers: []string{}}).IsZero() {
		t.Error("an empty list says something")
	}
	for _, dns := range []DNS{{Nameservers: []string{"a"}}, {Domain: "a"}, {Search: []string{"a"}}, {Options: []string{"a"}}} {
		if dns.IsZero() {
			t.Errorf("%+v says nothing", dns)
		}
	}
}

func TestParseDeviceInfo(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		want       *DeviceInfo
	}{
		{
			"pci", `{"type":"pci","version":"1.1.0","pci":{"pci-address":"a","vhost-net":"b","rdma-device":"c","pf-pci-address":"d","representor-device":"e"}}`,
			&DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &PCIDevice{"a", "b", "c", "d", "e"}},
		},
		{
			"vdpa", `{"type":"vdpa","vdpa":{"parent-device":"a","driver":"vhost","path":"c","pci-address":"d","pf-pci-address":"e","representor-device":"f"}}`,
			&DeviceInfo{Type: "vdpa", VDPA: &VDPADevice{"a", "vhost", "c", "d", "e", "f"}},
		},
		{"vhost-user", `{"type":"vhost-user","vhost-user":{"mode":"client","path":"/s"}}`, &DeviceInfo{Type: "vhost-user", VhostUser: &VhostUserDevice{"client", "/s"}}},
		{"memif", `{"type":"memif","memif":{"role":"slave","path":"/s","mode":"ip"}}`, &DeviceInfo{Type: "memif", Memif: &MemifDevice{"slave", "/s", "ip"}}},
		{"keys of a later version", `{"type":"pci","colour":"red"}`, &DeviceInfo{Type: "pci"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseDeviceInfo([]byte(tc.data))
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, tc.want, got)
			back, err := ParseDeviceInfo(mustMarshal(t, got))
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, tc.want, back)
		})
	}
	for data, word := range map[string]string{``: "device information: unexpected end", `[]`: "device information: json", `{}`: "device information: type: is missing", `null`: "type: is missing", `{"type":1}`: "device information: json"} {
		t.Run(data, func(t *testing.T) {
			_, err := ParseDeviceInfo([]byte(data))
			check.Error(t, err, word)
		})
	}
}

// TestStatusIsFlat: a status that says nothing of devices and names has no key for it.
func TestStatusIsFlat(t *testing.T) {
	var got map[string]json.RawMessage
	if err := json.Unmarshal(mustMarshal(t, NetworkStatus{Name: "a"}), &got); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, map[string]json.RawMessage{"name": json.RawMessage(`"a"`), "default": json.RawMessage(`false`)}, got)
}
