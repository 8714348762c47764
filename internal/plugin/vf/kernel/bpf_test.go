package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadXDP loads a program of type XDP.
func loadXDP(instructions []byte) (int, error) {
	licence := []byte("GPL\x00")
	attr := struct {
		kind, count           uint32
		instructions, licence unsafe.Pointer
		logLevel, logSize     uint32
		log                   unsafe.Pointer
	}{kind: unix.BPF_PROG_TYPE_XDP, count: uint32(len(instructions) / 8), instructions: unsafe.Pointer(&instructions[0]), licence: unsafe.Pointer(&licence[0])}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
