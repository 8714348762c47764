//go:build linux

package collect

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Whatever the bytes of an attribute are, reading them as a list of others ends: a MAC that begins with
// 06:00 looks like one of six bytes, which eight would hold.
func TestAttributesOfOtherKinds(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "a byte": {1}, "a MAC": {6, 0, 1, 0, 9, 9}, "another": {5, 0, 1, 0, 9, 9}, "a name": []byte("net0\x00"), "a length beyond": {200, 0, 1, 0},
	} {
		all := attributes(data)
		switch name {
		case "a MAC":
			check.Equal(t, name, all, map[uint16][]byte{1: {9, 9}})
		case "another":
			check.Equal(t, name, all, map[uint16][]byte{1: {9}})
		default:
			check.Equal(t, name, len(all), 0)
		}
	}
	whole := []byte{5, 0, 1, 0, 9, 8, 7}
	attributes(whole[:5])
	check.Equal(t, "what comes after it is left alone", whole, []byte{5, 0, 1, 0, 9, 8, 7})
}

func FuzzAttributes(f *testing.F) {
	f.Add([]byte{6, 0, 1, 0, 9, 9})
	f.Add([]byte{8, 0, 1, 128, 5, 0, 2, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, nested := range attributes(data) {
			attributes(nested)
		}
	})
}

// An interface whose MAC looks like an attribute is read as any other is.
func TestNetnsOddMACs(t *testing.T) {
	w := newWorld(t)
	for i, mac := range []string{"06:00:00:00:00:01", "06:00:1a:80:00:02", "02:00:00:00:00:03"} {
		name := "odd" + string(rune('0'+i))
		w.Run("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", name+"-peer")
		w.Run("ip", "link", "set", name, "master", "cbr0")
		check.Equal(t, "MAC", w.snapshot().Namespaces[0].LinkNamed(name).MAC, mac)
	}
}
