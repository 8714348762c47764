//go:build linux

package collect

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// readPacketSockets reads those of the thread's namespace; /proc/net would be that of the
// process's first thread.
func (r *reader) readPacketSockets() error {
	data, err := os.ReadFile("/proc/thread-self/net/packet")
	if err != nil {
		return nil //nolint:nilerr // a kernel without packet sockets has no such file
	}
	r.ns.Packets = packetSockets(string(data))
	return nil
}

// packetSockets reads the table of the kernel: sk, RefCnt, Type, Proto, Iface, R, Rmem, User, Inode.
func packetSockets(table string) (sockets []inspect.PacketSocket) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] == "sk" {
			continue
		}
		protocol, _ := strconv.ParseUint(fields[3], 16, 16)
		index, _ := strconv.Atoi(fields[4])
		inode, _ := strconv.ParseUint(fields[8], 10, 64)
		sockets = append(sockets, inspect.PacketSocket{Index: index, Protocol: uint16(protocol), Inode: inode})
	}
	return sockets
}

// openFiles are what programs may have open: by the file's name as /proc has it, what to do with the
// program's name. It is empty on most nodes, and then no process is looked at.
type openFiles struct {
	namespaces map[string]bool // as /proc has them
	sockets    map[string][]*string
	tuns       map[string]*string // by the namespace and the interface
}

const tunDevice = "/dev/net/tun"

// namePrograms finds the programs behind packet sockets and tun interfaces. It sees those that
// /proc shows, which in a pod are its own alone: the others have no name.
func (c *collector) namePrograms() {
	files := openFiles{namespaces: map[string]bool{}, sockets: map[string][]*string{}, tuns: map[string]*string{}}
	for i := range c.snapshot.Namespaces {
		files.add(&c.snapshot.Namespaces[i])
	}
	if len(files.namespaces) == 0 {
		return
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		if ns, err := os.Readlink(process + "/ns/net"); err == nil && files.namespaces[ns] {
			files.search(process, ns)
		}
	}
}

func (f *openFiles) add(ns *inspect.Namespace) {
	name := fmt.Sprintf("net:[%d]", ns.Inode)
	for i := range ns.Packets {
		file := fmt.Sprintf("socket:[%d]", ns.Packets[i].Inode)
		f.sockets[file] = append(f.sockets[file], &ns.Packets[i].Program)
		f.namespaces[name] = true
	}
	for i := range ns.Links {
		if tun := ns.Links[i].Tun; tun != nil {
			f.tuns[name+ns.Links[i].Name] = &tun.Program
			f.namespaces[name] = true
		}
	}
}

// search looks at what one process has open.
func (f *openFiles) search(process, ns string) {
	open, _ := os.ReadDir(process + "/fd")
	for _, file := range open {
		target, _ := os.Readlink(filepath.Join(process, "fd", file.Name()))
		wanted := f.sockets[target]
		if target == tunDevice {
			if tun := f.tuns[ns+tunInterface(filepath.Join(process, "fdinfo", file.Name()))]; tun != nil {
				wanted = []*string{tun}
			}
		}
		for _, program := range wanted {
			name, _ := os.ReadFile(process + "/comm")
			*program = strings.TrimSpace(string(name))
		}
	}
}

// tunInterface gives the name of the interface that an open /dev/net/tun is for.
func tunInterface(path string) string {
	info, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = info.Close() }()
	for lines := bufio.NewScanner(info); lines.Scan(); {
		if name, found := strings.CutPrefix(lines.Text(), "iff:"); found {
			return strings.TrimSpace(name)
		}
	}
	return ""
}
