package drops_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestExplain(t *testing.T) {
	for reason, part := range map[string]string{
		"NETFILTER_DROP":          "netfilter",
		"TCP_RFC7323_PAWS":        "TCP of the receiver",
		"TCP_CSUM":                "checksum",
		"VXLAN_VNI_NOT_FOUND":     "VNI",
		"IPV6_NDISC_BAD_CODE":     "neighbour discovery",
		"OPENVSWITCH_3":           "Open vSwitch",
		"SOMETHING_OF_TOMORROW":   "no text",
		"":                        "no text",
		"SKB_DROP_REASON_UNKNOWN": "no text",
	} {
		text, do := drops.Explain(reason)
		check.Contains(t, "text of "+reason, text, part)
		check.Equal(t, "there is something to do about "+reason, do != "", true)
	}
}

// The examples of docs/debugging.md are those of real kernels; what they say of a reason is what is said today.
func TestExamplesExplain(t *testing.T) {
	page, err := os.ReadFile("../../../docs/debugging.md")
	check.Must(t, err)
	examples := regexp.MustCompile(`(?m)^probe: .* in [a-z0-9_]+\(\): ([A-Z0-9_]+), (.*)$`).FindAllStringSubmatch(string(page), -1)
	reasons := map[string]bool{}
	for _, example := range examples {
		text, _ := drops.Explain(example[1])
		check.Equal(t, "what the page says of "+example[1], example[2], text)
		reasons[example[1]] = true
	}
	check.Equal(t, "reasons", len(reasons), 4) // NEIGH_FAILED, NO_TX_TARGET, NETFILTER_DROP, IP_RPFILTER
}

// A text is a clause behind the reason's name, and what to do is a sentence.
func TestTextsAreClauses(t *testing.T) {
	names := drops.Explained()
	if len(names) < 40 {
		t.Errorf("%d reasons have a text", len(names))
	}
	slices.Sort(names)
	for _, name := range names {
		text, do := drops.Explain(name)
		if text == "" || strings.HasSuffix(text, ".") || strings.Contains(text, ". ") {
			t.Errorf("%s: %q is no clause", name, text)
		}
		if !strings.HasSuffix(do, ".") || strings.ToUpper(do[:1]) != do[:1] {
			t.Errorf("%s: %q is no sentence", name, do)
		}
	}
}
