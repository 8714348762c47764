package types

import (
	"strings"
	"testing"
)

func TestUnknownKey(t *testing.T) {
	known := []string{"vlan", "vlanQoS", "vlanProto", "min_tx_rate", "max_tx_rate", "spoofchk", "trust", "link_state", "logLevel", "ipam", "dns", "mac"}
	for key, nearest := range map[string]string{
		"max-tx-rate": "max_tx_rate",
		"maxTxRate":   "max_tx_rate",
		"vlan_id":     "vlan",
		"vlanId":      "vlan",
		"vlan_qos":    "vlanQoS",
		"qos":         "vlanQoS",
		"spoofcheck":  "spoofchk",
		"spoof_chk":   "spoofchk",
		"logLevle":    "logLevel",
		"linkstate":   "link_state",
		"turst":       "trust",
		"macAddress":  "mac",
		"zebra":       "",
		"mtu":         "",
		"":            "",
		"_":           "",
		"_comment":    "",
	} {
		want := key
		if nearest != "" {
			want += " (the nearest known key is " + nearest + ")"
		}
		if got := UnknownKey(key, known); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := UnknownKey(strings.Repeat("vlan", 10_000), known); len(got) > 110 {
		t.Errorf("a key of 40,000 bytes is named with %d", len(got))
	}
	if got := UnknownKey("x", nil); got != "x" {
		t.Errorf("without known keys: %q", got)
	}
}
