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

// legacyFamily is one of legacy iptables.
type legacyFamily struct {
	file          string // of the names of the tables that there are
	domain, level int    // of the socket that is asked about a table
	targetAt      int    // where an entry says where its target is: in struct ipt_entry, and struct ip6t_entry
}

var legacyFamilies = map[string]legacyFamily{
	"ip":  {"ip_tables_names", unix.AF_INET, unix.SOL_IP, 88},
	"ip6": {"ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 140},
}

// readLegacy names the tables of legacy iptables that have rules, in the thread's namespace, and those
// that drop what is forwarded. /proc/net would be that of the process's first thread. There is no file
// unless the module is loaded. A table that cannot be asked about has rules, as far as is known; the
// error is of the last one.
func (r *reader) readLegacy(name string) (last error) {
	family := legacyFamilies[name]
	data, _ := os.ReadFile("/proc/thread-self/net/" + family.file)
	for _, table := range strings.Fields(string(data)) {
		info, err := family.info(table)
		if err != nil || info.rules() > 0 {
			r.ns.Netfilter.Legacy = append(r.ns.Netfilter.Legacy, name+" "+table)
		}
		if err != nil {
			last = err
		} else if family.closes(info, table) {
			r.ns.Netfilter.Closed = append(r.ns.Netfilter.Closed, "legacy "+name+" "+table+" FORWARD")
		}
	}
	return last
}

// tableInfo is struct ipt_getinfo of the kernel, and struct ip6t_getinfo.
type tableInfo struct {
	Name                  [32]byte
	ValidHooks            uint32
	HookEntry, Underflow  [5]uint32
	NumEntries, EntrySize uint32
}

// rules counts the rules of a table, without the policy of each chain and the mark of the table's end.
func (i *tableInfo) rules() int { return int(i.NumEntries) - bits.OnesCount32(i.ValidHooks) - 1 }

// What a socket is asked about a table: IPT_SO_GET_INFO of the kernel and IP6T_SO_GET_INFO, and
// IPT_SO_GET_ENTRIES and IP6T_SO_GET_ENTRIES.
const (
	getTableInfo    = 64
	getTableEntries = 65
)

func (f legacyFamily) info(table string) (*tableInfo, error) {
	var info tableInfo
	answer := make([]byte, binary.Size(info))
	copy(answer[:len(info.Name)-1], table)
	if err := f.get(getTableInfo, answer); err != nil {
		return nil, err
	}
	return &info, binary.Read(bytes.NewReader(answer), binary.NativeEndian, &info)
}

// get asks about a table, in place.
func (f legacyFamily) get(what uintptr, answer []byte) error {
	socket, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	size := uint32(len(answer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(f.level), what,
		uintptr(unsafe.Pointer(&answer[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Of struct ipt_get_entries: where the entries begin. Of an entry's target: where the verdict is.
const (
	entriesAt = 40
	verdictAt = 32
)

// closes reports whether a table drops all that is forwarded: the chain has no rule, and its policy is
// to drop.
func (f legacyFamily) closes(info *tableInfo, table string) bool {
	policy := int(info.Underflow[unix.NF_INET_FORWARD])
	if info.ValidHooks&(1<<unix.NF_INET_FORWARD) == 0 || int(info.HookEntry[unix.NF_INET_FORWARD]) != policy {
		return false
	}
	answer := make([]byte, entriesAt+int(info.EntrySize))
	copy(answer[:len(info.Name)-1], table)
	binary.NativeEndian.PutUint32(answer[len(info.Name):], info.EntrySize)
	if f.get(getTableEntries, answer) != nil || len(answer) < entriesAt+policy+f.targetAt+2 {
		return false
	}
	entry := answer[entriesAt+policy:]
	verdict := int(binary.NativeEndian.Uint16(entry[f.targetAt:])) + verdictAt
	return len(entry) >= verdict+4 && int32(binary.NativeEndian.Uint32(entry[verdict:])) == -nfDrop-1
}
