package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// prepared are the settings of an interface that Prepare turns on.
var prepared = []string{
	"ipv4/conf/%s/arp_notify",        // gratuitous ARP whenever it comes up
	"ipv6/conf/%s/ndisc_notify",      // the same in IPv6
	"ipv6/conf/%s/keep_addr_on_down", // an IPv6 address outlives "ip link set down", as one of IPv4 does
	"ipv6/conf/%s/optimistic_dad",    // an IPv6 address serves while duplicates of it are searched for
}

// Prepare sets how the kernel treats the addresses of an interface. It is for one that is still down:
// the link-local address comes with "up".
func (Links) Prepare(ns, name string) error {
	return onThreadIn(ns, func() error {
		var faults []error
		for _, setting := range prepared {
			err := setSysctl(fmt.Sprintf(setting, name), "1")
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6, or without the setting
				faults = append(faults, err)
			}
		}
		return types.Join(faults...)
	})
}

// enableIPv6 lifts what a runtime may have set for all interfaces of the pod. A pod with an IPv6 address
// needs ::1 as well.
func enableIPv6(ns, name string) error {
	return onThreadIn(ns, func() error {
		for _, each := range []string{"lo", name} {
			if err := setSysctl("ipv6/conf/"+each+"/disable_ipv6", "0"); err != nil {
				return err
			}
		}
		return nil
	})
}

// hastenDAD makes the kernel's search for duplicates short until undo is called: whoever has an address
// answers in far less than the second that the kernel waits. What it cannot set, the kernel takes its
// time for.
func hastenDAD(ns, name string) (undo func()) {
	setting := "ipv6/neigh/" + name + "/retrans_time_ms"
	before := ""
	_ = onThreadIn(ns, func() error {
		data, err := os.ReadFile("/proc/sys/net/" + setting)
		before = strings.TrimSpace(string(data))
		if err != nil {
			return err
		}
		return setSysctl(setting, strconv.FormatInt(dadTime.Milliseconds(), 10))
	})
	return func() { _ = onThreadIn(ns, func() error { return setSysctl(setting, before) }) }
}

// setSysctl sets what is not so already, in the namespace of the thread: /proc/sys may be read-only.
func setSysctl(name, value string) error {
	path := "/proc/sys/net/" + name
	data, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(data)) == value {
		return err
	}
	return os.WriteFile(path, []byte(value), 0o600)
}
