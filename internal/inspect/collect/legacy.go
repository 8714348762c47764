//go:build linux

package collect

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyFamilies are those of legacy iptables.
var legacyFamilies = map[string]struct {
	file          string // of the names of the tables that there are
	domain, level int    // of the socket that is asked about a table
}{
	"ip":  {"ip_tables_names", unix.AF_INET, unix.SOL_IP},
	"ip6": {"ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6},
}

// legacyTables gives the tables of legacy iptables that have rules, in the thread's namespace.
// /proc/net would be that of the process's first thread. There is no file unless the module
// is loaded. A table that cannot be asked about has rules, as far as is known; the error is of the
// last one.
func legacyTables(family string) (tables []string, last error) {
	of := legacyFamilies[family]
	data, _ := os.ReadFile("/proc/thread-self/net/" + of.file)
	for _, table := range strings.Fields(string(data)) {
		rules, err := legacyRules(of.domain, of.level, table)
		if err != nil || rules > 0 {
			tables = append(tables, family+" "+table)
		}
		if err != nil {
			last = err
		}
	}
	return tables, last
}

// tableInfo is struct ipt_getinfo of the kernel, and struct ip6t_getinfo.
type tableInfo struct {
	Name                  [32]byte
	ValidHooks            uint32
	HookEntry, Underflow  [5]uint32
	NumEntries, EntrySize uint32
}

// getTableInfo is IPT_SO_GET_INFO of the kernel, and IP6T_SO_GET_INFO.
const getTableInfo = 64

// legacyRules counts the rules of a table, without the policy of each chain and the mark of
// the table's end.
func legacyRules(domain, level int, table string) (int, error) {
	socket, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(socket) }()
	var info tableInfo
	answer := make([]byte, binary.Size(info))
	copy(answer[:len(info.Name)-1], table)
	size := uint32(len(answer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), getTableInfo,
		uintptr(unsafe.Pointer(&answer[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	if err := binary.Read(bytes.NewReader(answer), binary.NativeEndian, &info); err != nil {
		return 0, err
	}
	return int(info.NumEntries) - bits.OnesCount32(info.ValidHooks) - 1, nil
}
