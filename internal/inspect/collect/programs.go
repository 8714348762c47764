//go:build linux

package collect

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// hooks are those of an interface that netlink does not show: BPF_TCX_INGRESS of the kernel, and on.
var hooks = []struct {
	name   string
	attach uint32
	kind   string // of the interfaces that have it; "" is all
}{
	{"tcx ingress", unix.BPF_TCX_INGRESS, ""},
	{"tcx egress", unix.BPF_TCX_EGRESS, ""},
	{"netkit primary", 54, "netkit"},
	{"netkit peer", 55, "netkit"},
}

// readPrograms reads the BPF programs that netlink does not show, and the names of those that it does.
// A kernel without tcx (before 6.6) has none. The error is errNoNetAdmin.
func (r *reader) readPrograms() error {
	for i := range r.ns.Links {
		link := &r.ns.Links[i]
		for _, hook := range hooks {
			if hook.kind != "" && hook.kind != link.Kind {
				continue
			}
			ids, err := programsAt(link.Index, hook.attach)
			if errors.Is(err, unix.EPERM) {
				return errNoNetAdmin
			}
			for _, id := range ids {
				link.Programs = append(link.Programs, inspect.Program{At: hook.name, ID: int(id)})
			}
		}
		for j := range link.Programs {
			if program := &link.Programs[j]; program.Name == "" {
				program.Name = programName(uint32(program.ID))
			}
		}
	}
	return nil
}

// programsAt gives the programs at a hook of an interface; more than 64 are an error.
func programsAt(index int, attach uint32) ([]uint32, error) {
	ids := make([]uint32, 64)
	var pinner runtime.Pinner // the kernel writes into them
	pinner.Pin(&ids[0])
	defer pinner.Unpin()
	query := struct { // of union bpf_attr, BPF_PROG_QUERY
		target, attach, flags, attachFlags uint32
		ids                                uint64
		count, _                           uint32
		_                                  [4]uint64 // flags and links of each, and the revision: the kernel writes it
	}{target: uint32(index), attach: attach, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&query), unsafe.Sizeof(query))
	if err != nil {
		return nil, err
	}
	return ids[:min(int(query.count), len(ids))], nil
}

// Where the name is in struct bpf_prog_info, and how much of the struct holds it.
const (
	programNameAt   = 64
	programInfoSize = programNameAt + unix.BPF_OBJ_NAME_LEN
)

// programName gives the name of a program, as far as it may be asked for: that takes SYS_ADMIN.
func programName(id uint32) string {
	get := struct{ id, next, flags, _ uint32 }{id: id}
	file, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&get), unsafe.Sizeof(get))
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(file) }()
	info := make([]byte, programInfoSize)
	var pinner runtime.Pinner
	pinner.Pin(&info[0])
	defer pinner.Unpin()
	ask := struct {
		file, size uint32
		info       uint64
	}{uint32(file), uint32(len(info)), uint64(uintptr(unsafe.Pointer(&info[0])))}
	_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&ask), unsafe.Sizeof(ask))
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info[programNameAt:])
}

func bpf(command int, attr unsafe.Pointer, size uintptr) (int, error) {
	answer, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
	if errno != 0 {
		return 0, errno
	}
	return int(answer), nil
}

// xdpPrograms gives the programs of an attribute IFLA_XDP, with how they run.
func xdpPrograms(attribute map[uint16][]byte) (programs []inspect.Program) {
	for _, mode := range []struct {
		attribute uint16
		name      string
	}{{xdpGeneric, "xdp generic"}, {xdpDriver, "xdp"}, {xdpHardware, "xdp hardware"}} {
		if id := number(attribute[mode.attribute]); id != 0 {
			programs = append(programs, inspect.Program{At: mode.name, ID: int(id)})
		}
	}
	return programs
}

// Attributes of IFLA_XDP: IFLA_XDP_SKB_PROG_ID of the kernel, and on.
const (
	xdpGeneric  = 6
	xdpDriver   = 5
	xdpHardware = 7
)
