package filter

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// TestLongJumps makes programs whose jumps are of all lengths up to some thousand: a conditional one has 8 bits.
func TestLongJumps(t *testing.T) {
	for count := 1; count <= 300; count++ {
		var some []string
		for length := range count {
			some = append(some, fmt.Sprintf("len = %d", length+20))
		}
		text := "not ether[0] = 9 and (" + strings.Join(some, " or ") + ") and (" + strings.Join(some, " or ") + ")"
		program, err := compile(text, Ethernet, inline)
		check.Must(t, err)
		vm, err := bpf.NewVM(program)
		check.Must(t, err)
		for length, want := range map[int]int{19: 0, 20: everything, 20 + count/2: everything, 19 + count: everything, 20 + count: 0} {
			kept, err := vm.Run(make([]byte, length))
			check.Must(t, err)
			check.Equal(t, fmt.Sprintf("what %d conditions keep of %d bytes", count, length), kept, want)
		}
	}
}

// TestTagOfTheKernel looks at what a virtual machine does not have: the tag that the kernel took off.
func TestTagOfTheKernel(t *testing.T) {
	for text, tagged := range map[string]bool{"": false, "ip": false, "vlan": true, "not vlan 5": true, "tcp and vlan and ip": true} {
		program, err := Compile(text, Ethernet)
		check.Must(t, err)
		first := bpf.RawInstruction(program[0]).Disassemble()
		check.Equal(t, text+" asks the kernel", first == bpf.Instruction(bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}), tagged)
	}
}
