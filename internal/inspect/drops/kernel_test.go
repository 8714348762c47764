//go:build linux

package drops

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// kernelTypes is a kernel's description of its types.
type kernelTypes map[string]btf.Type

func (k kernelTypes) TypeByName(name string, typ any) error {
	found, there := k[name]
	want := reflect.ValueOf(typ).Elem()
	if !there || !reflect.TypeOf(found).AssignableTo(want.Type()) {
		return btf.ErrNotFound
	}
	want.Set(reflect.ValueOf(found))
	return nil
}

var (
	void    = &btf.Pointer{Target: &btf.Void{}}
	packet  = &btf.Pointer{Target: &btf.Struct{Name: "sk_buff"}}
	socket  = &btf.Pointer{Target: &btf.Struct{Name: "sock"}}
	reasonT = &btf.Enum{Name: "skb_drop_reason", Size: 4, Values: []btf.EnumValue{{Name: "SKB_CONSUMED", Value: 1}, {Name: "SKB_DROP_REASON_NO_SOCKET", Value: 3}}}
)

func tracepoint(arguments ...btf.Type) btf.Type {
	function := &btf.FuncProto{Return: &btf.Void{}}
	for _, t := range arguments {
		function.Params = append(function.Params, btf.FuncParam{Type: t})
	}
	return &btf.Typedef{Name: "btf_trace_kfree_skb", Type: &btf.Pointer{Target: function}}
}

// The arguments are found by their types, wherever a kernel has them.
func TestArguments(t *testing.T) {
	for name, test := range map[string]struct {
		tracepoint               btf.Type
		packet, location, reason int16
		err                      error
		part                     string
	}{
		"5.17":                  {tracepoint: tracepoint(void, packet, void, reasonT), packet: 0, location: 8, reason: 16},
		"6.12":                  {tracepoint: tracepoint(void, packet, void, reasonT, socket), packet: 0, location: 8, reason: 16},
		"another order":         {tracepoint: tracepoint(void, reasonT, socket, packet, void), packet: 16, location: 24, reason: 0},
		"5.16":                  {tracepoint: tracepoint(void, packet, void), err: ErrNoReasons},
		"without a packet":      {tracepoint: tracepoint(void, void, reasonT), part: "arguments"},
		"an enum of other name": {tracepoint: tracepoint(void, packet, void, &btf.Enum{Name: "x"}), err: ErrNoReasons},
		"no pointer":            {tracepoint: &btf.Typedef{Type: &btf.Void{}}, part: "no function"},
		"no function":           {tracepoint: &btf.Typedef{Type: void}, part: "no function"},
		"nothing":               {tracepoint: tracepoint(), part: "arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kernel{}
			err := k.findArguments(kernelTypes{"btf_trace_kfree_skb": test.tracepoint})
			if test.err != nil || test.part != "" {
				check.Error(t, err, test.part)
				check.Equal(t, "it is the error", test.err == nil || errors.Is(err, test.err), true)
				return
			}
			check.Must(t, err)
			check.Equal(t, "arguments", []int16{k.packet, k.location, k.reason}, []int16{test.packet, test.location, test.reason})
		})
	}
}

func TestOffsets(t *testing.T) {
	number := &btf.Int{Name: "unsigned int", Size: 4}
	inner := &btf.Struct{Size: 16, Members: []btf.Member{{Name: "x", Type: number}, {Name: "inum", Type: number, Offset: 64}}}
	union := &btf.Union{Size: 16, Members: []btf.Member{{Name: "list", Type: void}, {Type: inner}}}
	types := kernelTypes{"net": &btf.Struct{Name: "net", Members: []btf.Member{
		{Name: "count", Type: number},
		{Name: "bit", Type: number, Offset: 32, BitfieldSize: 1},
		{Type: union, Offset: 128},
		{Name: "ns", Type: &btf.Typedef{Name: "ns_t", Type: inner}, Offset: 256},
	}}}
	for path, want := range map[string]int32{"net.count": 0, "net.inum": 24, "net.ns.inum": 40} {
		at, err := offsetOf(types, path, 4)
		check.Must(t, err)
		check.Equal(t, path, at, want)
	}
	for path, part := range map[string]string{
		"net.nothing": "net.nothing is not known", "net.bit": "net.bit is not known", "net.count.x": "not known",
		"other.inum": "not found", "net.list": "net.list has 8 bytes, not 4",
	} {
		_, err := offsetOf(types, path, 4)
		check.Error(t, err, part)
	}
}

func TestNames(t *testing.T) {
	k := &kernel{}
	var err error
	k.reasons, err = names(kernelTypes{"skb_drop_reason": reasonT}, "skb_drop_reason", "SKB_DROP_REASON_")
	check.Must(t, err)
	k.subsystems = map[uint64]string{0: "CORE", 2: "OPENVSWITCH"}
	for number, want := range map[uint32]string{1: "SKB_CONSUMED", 3: "NO_SOCKET", 99: "99", 2<<16 | 5: "OPENVSWITCH_5", 7<<16 | 5: "458757"} {
		check.Equal(t, "name", k.name(number), want)
	}
	_, err = names(kernelTypes{}, "skb_drop_reason", "")
	check.Equal(t, "a kernel without reasons says so", errors.Is(err, ErrNoReasons), true)
}

// thisKernel gives the types of this kernel, or skips the test.
func thisKernel(t *testing.T) *kernel {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		t.Skipf("this kernel does not describe its types: %v", err)
	}
	k, err := readKernel()
	check.Must(t, err)
	return k
}

// The texts are of reasons that there are. The newest of them is of Linux 6.18.
func TestTextsAreOfReasonsOfTheKernel(t *testing.T) {
	k := thisKernel(t)
	var known, bare []string
	for _, name := range k.reasons {
		known = append(known, name)
		if _, found := reasons[name]; !found {
			bare = append(bare, name)
		}
	}
	slices.Sort(bare)
	t.Logf("reasons of this kernel without a text of their own: %q", bare)
	if !slices.Contains(known, "RECURSION_LIMIT") {
		t.Skip("this kernel is older than 6.18: it lacks some of the reasons")
	}
	for name := range reasons {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no reason of this kernel", name)
		}
	}
}
