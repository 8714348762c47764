package filter

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// FuzzCompile holds that every program is one that a virtual machine takes, that runs to its end, and that is
// read as it is written; and that an error is about a column of the text.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"vlan 5 and (tcp port 80 or 443) and not host 10.0.0.1", "ip[ip[0] & 0xf:2] * 2 > tcp[tcpflags] & (tcp-syn|tcp-ack)",
		"net 2001:db8::/32 or net 10.0.0.0 mask 255.0.0.0", `ether proto \arp or ether host 02:00:0a:00:00:01`, "len - -5 % 3 = 0",
		"portrange 1-2 and src or dst net 10 && !(ip6 multicast || less 60)",
	} {
		f.Add(text, []byte("\x02\x00\x0a\x00\x00\x01\x02\x00\x0a\x00\x00\x02\x08\x00\x45\x00\x00\x14"))
	}
	f.Fuzz(func(t *testing.T, text string, packet []byte) {
		for _, link := range []int{Ethernet, RawIP} {
			runs(t, text, link, packet)
		}
	})
}

func runs(t *testing.T, text string, link int, packet []byte) {
	program, err := compile(text, link, inline)
	if err != nil {
		var refused *Error
		if !errors.As(err, &refused) || refused.Column < 1 || refused.Column > len(text)+1 {
			t.Fatalf("%q: the error is %v", text, err)
		}
		return
	}
	vm, err := bpf.NewVM(program)
	check.Must(t, err)
	kept, err := vm.Run(packet)
	check.Must(t, err)
	if kept != 0 && kept != everything {
		t.Fatalf("%q keeps %d bytes", text, kept)
	}
	attached, err := Compile(text, link)
	if err != nil {
		return // it has both parts of "vlan", and is too long
	}
	_, err = ParseProgram(strings.NewReader(printed(attached)))
	check.Must(t, err)
}
