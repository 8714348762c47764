package kernel

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/types"
)

// Traits gives what a pod may change of an interface, which is on the host. What its driver does not have
// of ethtool's is left out.
func (Links) Traits(index int) (*vf.Traits, error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("interface %d: %w", index, err)
	}
	a := link.Attrs()
	traits := &vf.Traits{Flags: a.RawFlags & vf.TraitFlags, TxQLen: a.TxQLen, Alias: a.Alias, Group: a.Group, Ethtool: map[string][]byte{}}
	if a.Xdp != nil && a.Xdp.Attached {
		traits.XDP = a.Xdp.ProgId
	}
	for _, s := range ethtoolSettings {
		if data, err := s.read(a.Name); err == nil {
			traits.Ethtool[s.what] = data
		}
	}
	return traits, nil
}

// SetTraits makes what differs between two as it is in want, but for what ethtool sets.
func (Links) SetTraits(index int, now, want *vf.Traits) error {
	link := device(index)
	var faults []error
	for _, trait := range []struct {
		what    string
		differs bool
		set     func() error
	}{
		{"flags", now.Flags != want.Flags, func() error { return setFlags(index, want.Flags, now.Flags^want.Flags) }},
		{"txqueuelen", now.TxQLen != want.TxQLen, func() error { return netlink.LinkSetTxQLen(link, want.TxQLen) }},
		{"alias", now.Alias != want.Alias, func() error { return netlink.LinkSetAlias(link, want.Alias) }},
		{"group", now.Group != want.Group, func() error { return netlink.LinkSetGroup(link, int(want.Group)) }},
		{"XDP program", now.XDP != want.XDP && now.XDP != 0, func() error { return detachXDP(index) }},
	} {
		if !trait.differs {
			continue
		}
		if err := trait.set(); err != nil {
			faults = append(faults, fmt.Errorf("%s: set back: %w", trait.what, err))
		}
	}
	return types.Join(faults...)
}

func setFlags(index int, flags, change uint32) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index, message.Flags, message.Change = int32(index), flags, change //nolint:gosec // the kernel's own number
	request.AddData(message)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// detachXDP removes the program in the mode that it is in: the kernel wants it named.
func detachXDP(index int) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil || link.Attrs().Xdp == nil {
		return err
	}
	const skb, drv, hw = 1 << 1, 1 << 2, 1 << 3 // XDP_FLAGS_SKB_MODE and so on
	modes := map[uint32]int{nl.XDP_ATTACHED_DRV: drv, nl.XDP_ATTACHED_SKB: skb, nl.XDP_ATTACHED_HW: hw}
	return netlink.LinkSetXdpFdWithFlags(link, -1, modes[link.Attrs().Xdp.AttachMode])
}

// ethtoolSetting is one thing that ethtool sets. Its value is the kernel's structure, or a part of it.
type ethtoolSetting struct {
	what string
	read func(name string) ([]byte, error)
	set  func(name string, value []byte) error
}

var ethtoolSettings = []ethtoolSetting{
	{"offloads", readOffloads, setOffloads},
	structure("rings", unix.ETHTOOL_GRINGPARAM, unix.ETHTOOL_SRINGPARAM, 9),
	structure("coalescing", unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 23),
}

// SetEthtool sets one of the values that Traits gives.
func (Links) SetEthtool(index int, what string, value []byte) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("interface %d: %w", index, err)
	}
	for _, s := range ethtoolSettings {
		if s.what == what {
			return s.set(link.Attrs().Name, value)
		}
	}
	return fmt.Errorf("%s: there is no such setting", what)
}

// structure is a setting of some words that is set by the same structure as it is read by.
func structure(what string, get, set uint32, words int) ethtoolSetting {
	return ethtoolSetting{
		what: what,
		read: func(name string) ([]byte, error) {
			data := make([]byte, 4*words)
			return data, ethtool(name, get, data)
		},
		set: func(name string, value []byte) error {
			if len(value) != 4*words {
				return fmt.Errorf("%s: %d bytes, not %d", what, len(value), 4*words)
			}
			return ethtool(name, set, append([]byte{}, value...))
		},
	}
}

// features are the kernel's offloads: of each 32 of them, which can be set and which are asked for. What
// is in force besides depends on others, and on the link.
func features(name string) (available, asked []uint32, err error) {
	const header, blocks, block = 8, 4, 16 // struct ethtool_gfeatures; room for more than any kernel has
	data := make([]byte, header+blocks*block)
	binary.NativeEndian.PutUint32(data[4:], blocks)
	if err := ethtool(name, unix.ETHTOOL_GFEATURES, data); err != nil {
		return nil, nil, err
	}
	for i := range min(binary.NativeEndian.Uint32(data[4:]), blocks) {
		of := data[header+block*i:]
		available = append(available, binary.NativeEndian.Uint32(of))
		asked = append(asked, binary.NativeEndian.Uint32(of[4:]))
	}
	return available, asked, nil
}

func readOffloads(name string) ([]byte, error) {
	available, asked, err := features(name)
	var data []byte
	for i := range asked {
		data = binary.NativeEndian.AppendUint32(data, asked[i]&available[i])
	}
	return data, err
}

func setOffloads(name string, value []byte) error {
	available, asked, err := features(name)
	if err != nil {
		return err
	}
	data := make([]byte, 8) // struct ethtool_sfeatures
	binary.NativeEndian.PutUint32(data[4:], uint32(len(asked)))
	for i := range asked {
		want := asked[i]
		if len(value) >= 4*i+4 {
			want = binary.NativeEndian.Uint32(value[4*i:])
		}
		data = binary.NativeEndian.AppendUint32(data, (want^asked[i])&available[i])
		data = binary.NativeEndian.AppendUint32(data, want)
	}
	return ethtool(name, unix.ETHTOOL_SFEATURES, data)
}

// ethtool makes one request of an interface on the host, whose structure is data, with the command as its
// first word.
func ethtool(name string, command uint32, data []byte) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	binary.NativeEndian.PutUint32(data, command)
	request := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&data[0])}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}
