package watched

import (
	"strings"
	"testing"
)

func TestPackGivesBackWhatItTook(t *testing.T) {
	long := strings.Repeat(`{"type":"macvlan","master":"eth1","ipam":{"type":"host-local"}}`, 20)
	for name, text := range map[string]string{
		"nothing":        "",
		"short":          `{}`,
		"long":           long,
		"no JSON":        "\x00\xff" + long,
		"incompressible": "k8Zq!x0^",
	} {
		t.Run(name, func(t *testing.T) {
			p := pack(text)
			if got := p.text(); got != text {
				t.Errorf("got %q, want %q", got, text)
			}
			if len(p.data) > len(text) {
				t.Errorf("it takes %d bytes for %d", len(p.data), len(text))
			}
		})
	}
	if p := pack(long); len(p.data) > len(long)/4 {
		t.Errorf("%d bytes of JSON are still %d", len(long), len(p.data))
	}
}
