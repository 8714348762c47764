//go:build linux

package drops

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// What the kernel lacks, or the process. Whatever else is watched is seen without.
var (
	// ErrNoBTF is the error for a kernel that does not describe its types.
	ErrNoBTF = errors.New("this kernel does not describe its types in /sys/kernel/btf/vmlinux, so its reasons for dropping packets cannot be read; packets are seen all the same. It takes a kernel with CONFIG_DEBUG_INFO_BTF")
	// ErrNoReasons is the error for a kernel before 5.17.
	ErrNoReasons = errors.New("this kernel has no reasons for dropping packets: Linux has them since 5.17; packets are seen all the same")
	// ErrNoRights is the error for a process without the capabilities.
	ErrNoRights = errors.New("to read the kernel's reasons for dropping packets takes the capabilities BPF and PERFMON, and a seccomp profile that allows bpf; packets are seen without them")
)

// kernel is where this kernel has what the program reads.
type kernel struct {
	// Of the tracepoint's arguments, in bytes.
	packet, location, reason int16
	// Of struct sk_buff.
	network, tail, head, data, dev, sk int32
	// Of the others.
	ifindex, namespaceOfDev, namespaceOfSock, inode int32

	reasons, subsystems map[uint64]string
}

// readKernel takes it from the kernel's description of its types, not from its version.
func readKernel() (*kernel, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBTF, err)
	}
	return describe(spec)
}

// types has the types of a kernel by their names.
type types interface {
	TypeByName(name string, typ any) error
}

func describe(spec types) (*kernel, error) {
	k := &kernel{}
	if err := k.findArguments(spec); err != nil {
		return nil, err
	}
	if err := k.findFields(spec); err != nil {
		return nil, err
	}
	var err error
	if k.reasons, err = names(spec, "skb_drop_reason", "SKB_DROP_REASON_"); err != nil {
		return nil, err
	}
	k.subsystems, _ = names(spec, "skb_drop_reason_subsys", "SKB_DROP_REASON_SUBSYS_") // since 6.4
	return k, nil
}

// findArguments finds the arguments of the tracepoint by their types: they have no names, and their order
// is the kernel's.
func (k *kernel) findArguments(spec types) error {
	var typedef *btf.Typedef
	if err := spec.TypeByName("btf_trace_kfree_skb", &typedef); err != nil {
		return fmt.Errorf("read the kernel's tracepoint kfree_skb: %w", err)
	}
	k.packet, k.location, k.reason = -1, -1, -1
	pointer, _ := btf.As[*btf.Pointer](typedef.Type)
	if pointer == nil {
		return errors.New("read the kernel's tracepoint kfree_skb: it is no function")
	}
	function, _ := btf.As[*btf.FuncProto](pointer.Target)
	if function == nil {
		return errors.New("read the kernel's tracepoint kfree_skb: it is no function")
	}
	for i, param := range function.Params {
		if at := k.argument(param.Type); at != nil && *at < 0 && i > 0 { // the first is the tracepoint's own
			*at = int16(8 * (i - 1)) //nolint:gosec // of a few
		}
	}
	if k.packet < 0 || k.location < 0 {
		return errors.New("read the kernel's tracepoint kfree_skb: it has not the arguments of the kernels that are known")
	}
	if k.reason < 0 {
		return ErrNoReasons
	}
	return nil
}

// argument gives which argument it is that has a type; nil for one that is not read.
func (k *kernel) argument(t btf.Type) *int16 {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Enum:
		if t.Name == "skb_drop_reason" {
			return &k.reason
		}
	case *btf.Pointer:
		switch target := btf.UnderlyingType(t.Target).(type) {
		case *btf.Void:
			return &k.location
		case *btf.Struct:
			if target.Name == "sk_buff" {
				return &k.packet
			}
		}
	}
	return nil
}

func (k *kernel) findFields(spec types) error {
	for _, field := range []struct {
		at   *int32
		size int
		path string
	}{
		{&k.network, 2, "sk_buff.network_header"},
		{&k.tail, 4, "sk_buff.tail"},
		{&k.head, 8, "sk_buff.head"},
		{&k.data, 8, "sk_buff.data"},
		{&k.dev, 8, "sk_buff.dev"},
		{&k.sk, 8, "sk_buff.sk"},
		{&k.ifindex, 4, "net_device.ifindex"},
		{&k.namespaceOfDev, 8, "net_device.nd_net.net"},
		{&k.namespaceOfSock, 8, "sock.__sk_common.skc_net.net"},
		{&k.inode, 4, "net.ns.inum"},
	} {
		var err error
		if *field.at, err = offsetOf(spec, field.path, field.size); err != nil {
			return fmt.Errorf("read the kernel's types: %w", err)
		}
	}
	return nil
}

// offsetOf gives where a struct has a field of a field, which has to have a size.
func offsetOf(spec types, path string, size int) (int32, error) {
	fields := strings.Split(path, ".")
	var outer *btf.Struct
	if err := spec.TypeByName(fields[0], &outer); err != nil {
		return 0, err
	}
	var t btf.Type = outer
	var sum uint32
	for _, name := range fields[1:] {
		at, inner, found := member(t, name)
		if !found {
			return 0, fmt.Errorf("%s is not known", path)
		}
		sum, t = sum+at, inner
	}
	if found, err := btf.Sizeof(t); err != nil || found != size || sum > 1<<20 {
		return 0, fmt.Errorf("%s has %d bytes, not %d", path, found, size)
	}
	return int32(sum), nil //nolint:gosec // it was looked at
}

// member finds a field of a struct, also in those that have no name.
func member(t btf.Type, name string) (at uint32, inner btf.Type, found bool) {
	var members []btf.Member
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.Name == name && m.BitfieldSize == 0 {
			return m.Offset.Bytes(), m.Type, true
		}
		if m.Name != "" {
			continue
		}
		if at, inner, found := member(m.Type, name); found {
			return m.Offset.Bytes() + at, inner, true
		}
	}
	return 0, nil, false
}

// names gives the names of an enum without what they begin with.
func names(spec types, enum, prefix string) (map[uint64]string, error) {
	var t *btf.Enum
	if err := spec.TypeByName(enum, &t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoReasons, err)
	}
	all := map[uint64]string{}
	for _, value := range t.Values {
		all[value.Value] = strings.TrimPrefix(value.Name, prefix)
	}
	return all, nil
}

// subsystemShift is where the number of a reason has the part of the kernel that it is of.
const subsystemShift = 16

// name gives the name of a reason. A module that has reasons of its own gives only their numbers.
func (k *kernel) name(reason uint32) string {
	if name, found := k.reasons[uint64(reason)]; found {
		return name
	}
	number := strconv.FormatUint(uint64(reason&(1<<subsystemShift-1)), 10)
	subsystem := uint64(reason >> subsystemShift)
	if name, found := k.subsystems[subsystem]; found && subsystem != 0 {
		return name + "_" + number
	}
	return strconv.FormatUint(uint64(reason), 10)
}
