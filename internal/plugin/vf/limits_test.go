package vf

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The last value that is allowed, and the first that is not.
func TestParseConfigLimits(t *testing.T) {
	for key, refused := range map[string]bool{
		`"vlan":0`: false, `"vlan":4094`: false, `"vlan":4095`: true, `"vlan":-1`: true,
		`"vlan":5,"vlanQoS":0`: false, `"vlan":5,"vlanQoS":7`: false, `"vlan":5,"vlanQoS":8`: true, `"vlan":5,"vlanQoS":-1`: true,
		`"max_tx_rate":0`: false, `"max_tx_rate":2147483647`: false, `"max_tx_rate":2147483648`: true, `"max_tx_rate":-1`: true,
		`"min_tx_rate":50,"max_tx_rate":50`: false, `"min_tx_rate":51,"max_tx_rate":50`: true, `"min_tx_rate":50,"max_tx_rate":0`: false,
		`"min_tx_rate":2147483647`: false,
	} {
		_, err := ParseConfig([]byte(asking(key)), "")
		if (err != nil) != refused {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A minimum rate alone is set too.
func TestMinimumRate(t *testing.T) {
	m := newMachine()
	if _, err := m.engine(t).Add(t.Context(), inA(), parse(t, asking(`"min_tx_rate":10`))); err != nil {
		t.Fatal(err)
	}
	equal(t, "rate", 10, int(m.settings.MinTxRate))
}

// The name of a state, and of the file that it is written to first, has at most 255 bytes.
func TestKeyLimits(t *testing.T) {
	key := Key{Device: dev, IfName: "net0"}
	key.ContainerID = strings.Repeat("c", unix.NAME_MAX-len(key.name())-len(".json.new"))
	if err := key.check(); err != nil {
		t.Error(err)
	}
	key.ContainerID += "c"
	if err := key.check(); err == nil {
		t.Error("a name that is too long is accepted")
	}
}
