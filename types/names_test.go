package types

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestCheckInterfaceName(t *testing.T) {
	for _, name := range []string{"net0", "eth0.100", "a", "fifteen-letters", "vf_0", "x@y", "Ж1"} {
		if err := CheckInterfaceName(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for name, word := range map[string]string{
		"":                 "must not be empty",
		"sixteen-letters-": "has 16 bytes, the kernel takes at most 15",
		"ЖЖЖЖЖЖЖЖ":         "has 16 bytes",
		".":                "is refused by the kernel",
		"..":               "is refused by the kernel",
		"lo":               "the loopback's",
		"a/b":              "has a character that the kernel refuses",
		"a:1":              "has a character that the kernel refuses",
		"net%d":            "has a character that the kernel refuses",
		"a b":              "has a character that the kernel refuses",
		"a\tb":             "has a character that the kernel refuses",
		"a\x00b":           "has a character that the kernel refuses",
		"a\u00a0b":         "has a character that the kernel refuses",
	} {
		t.Run(name, func(t *testing.T) { check.Error(t, CheckInterfaceName(name), word) })
	}
}

func TestParseRef(t *testing.T) {
	long := strings.Repeat("a", 63)
	for s, want := range map[string]Ref{
		"net-a":            {"pods", "net-a"},
		"ns/net-a":         {"ns", "net-a"},
		"0/1":              {"0", "1"},
		"net.a.example":    {"pods", "net.a.example"},
		long + "/" + long:  {long, long},
		"x/" + "a-b.c-d.0": {"x", "a-b.c-d.0"},
	} {
		got, err := ParseRef(s, "pods")
		if err != nil {
			t.Errorf("%q is refused: %v", s, err)
		}
		wantEqual(t, want, got)
	}
	if got := (Ref{"ns", "net-a"}).String(); got != "ns/net-a" {
		t.Errorf("String is %q", got)
	}
}

func TestParseRefRefused(t *testing.T) {
	for s, word := range map[string]string{
		"":                        "network name must not be empty",
		"/net-a":                  "namespace must not be empty",
		"ns/":                     "network name must not be empty",
		"a/b/c":                   `network name "b/c" is not a DNS-1123 label`,
		"Net":                     `network name "Net" is not a DNS-1123 label`,
		"NS/net":                  `namespace "NS" is not a DNS-1123 label`,
		"n.s/net":                 `namespace "n.s" is not a DNS-1123 label`,
		"-net":                    `"-net" is not a DNS-1123 label`,
		"net-":                    `"net-" is not a DNS-1123 label`,
		"net_a":                   `"net_a" is not a DNS-1123 label`,
		"net a":                   `"net a" is not a DNS-1123 label`,
		"nét":                     `"nét" is not a DNS-1123 label`,
		"a..b":                    "network name must not be empty",
		"ns/" + sixtyFour:         "has 64 characters, a DNS-1123 label at most 63",
		sixtyFour + "/net":        "has 64 characters, a DNS-1123 label at most 63",
		strings.Repeat("a.", 127): "has 254 characters, Kubernetes allows 253",
	} {
		t.Run(s, func(t *testing.T) {
			_, err := ParseRef(s, "pods")
			check.Error(t, err, word)
		})
	}
}

var sixtyFour = strings.Repeat("a", 64)
