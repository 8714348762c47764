package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

// onHost runs the test on a thread in a namespace of its own, which stands for the host's.
func onHost(t *testing.T, do func(link *vf.Link)) {
	t.Helper()
	ns := namespace(t, "host")
	link := pair(t, ns)
	must(t, onThreadIn(ns, func() error {
		do(link)
		return nil
	}))
}

// Whatever of an interface is changed comes back.
func TestNetnsTraits(t *testing.T) {
	l := Links{}
	for name, change := range map[string]func(link *vf.Link) error{
		"promiscuous":   func(link *vf.Link) error { return netlink.SetPromiscOn(device(link.Index)) },
		"all multicast": func(link *vf.Link) error { return netlink.LinkSetAllmulticastOn(device(link.Index)) },
		"no multicast":  func(link *vf.Link) error { return netlink.LinkSetMulticastOff(device(link.Index)) },
		"no ARP":        func(link *vf.Link) error { return netlink.LinkSetARPOff(device(link.Index)) },
		"txqueuelen":    func(link *vf.Link) error { return netlink.LinkSetTxQLen(device(link.Index), 7) },
		"alias":         func(link *vf.Link) error { return netlink.LinkSetAlias(device(link.Index), "mine") },
		"group":         func(link *vf.Link) error { return netlink.LinkSetGroup(device(link.Index), 7) },
		"an XDP program": func(link *vf.Link) error {
			return netlink.LinkSetXdpFdWithFlags(device(link.Index), program(t), 1<<1) // XDP_FLAGS_SKB_MODE
		},
		"offloads": func(link *vf.Link) error {
			offloads, err := readOffloads(link.Name)
			for i := range offloads {
				offloads[i] = 0
			}
			must(t, err)
			return setOffloads(link.Name, offloads)
		},
		"all of it": func(link *vf.Link) error {
			return l.SetTraits(link.Index, &vf.Traits{}, &vf.Traits{Flags: unix.IFF_PROMISC | unix.IFF_ALLMULTI, TxQLen: 9, Alias: "x", Group: 9})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(link *vf.Link) {
				before, err := l.Traits(link.Index)
				must(t, err)
				must(t, change(link))
				now, err := l.Traits(link.Index)
				must(t, err)
				if cmp.Equal(before, now) {
					t.Fatalf("the change does not show: %+v", now)
				}
				for what, value := range before.Ethtool {
					if !slices.Equal(value, now.Ethtool[what]) {
						must(t, l.SetEthtool(link.Index, what, value))
					}
				}
				must(t, l.SetTraits(link.Index, now, before))
				now, err = l.Traits(link.Index)
				must(t, err)
				if diff := cmp.Diff(before, now); diff != "" {
					t.Errorf("-before +now:\n%s", diff)
				}
			})
		})
	}
}

// program loads an XDP program that drops every packet.
func program(t *testing.T) int {
	t.Helper()
	instructions := []byte{
		0xb7, 0, 0, 0, 1, 0, 0, 0, // r0 = XDP_DROP
		0x95, 0, 0, 0, 0, 0, 0, 0, // exit
	}
	fd, err := loadXDP(instructions)
	if err != nil {
		t.Skipf("needs the right to load BPF programs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	runtime.KeepAlive(instructions)
	return fd
}

func TestNetnsTraitsRefused(t *testing.T) {
	l := Links{}
	onHost(t, func(link *vf.Link) {
		for what, err := range map[string]error{
			"an interface that is not there":          func() error { _, err := l.Traits(9999); return err }(),
			"a setting that does not exist":           l.SetEthtool(link.Index, "color", nil),
			"a value of the wrong size":               l.SetEthtool(link.Index, "rings", []byte{1}),
			"a setting of one that is not there":      l.SetEthtool(9999, "rings", make([]byte, 36)),
			"a trait of one that is not there":        l.SetTraits(9999, &vf.Traits{}, &vf.Traits{Alias: "x"}),
			"what ethtool has of one of another name": ethtool("none", unix.ETHTOOL_GFEATURES, make([]byte, 72)),
		} {
			if err == nil {
				t.Error(fmt.Sprint(what, ": no error"))
			}
		}
	})
}
