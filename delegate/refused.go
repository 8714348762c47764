package delegate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// What was never made can always be released. A plugin that refuses its configuration in
// ADD refuses it in DEL as well, for ever: an attachment that it kept from being made must
// not be kept by it.

// noteRefusal notes which plugin answered an ADD with an error, if one did: what comes after
// it in the list was never run, and a later DEL compares its own failure with it.
func (s *session) noteRefusal(i int, list *libcni.NetworkConfigList, failure error) {
	var said *PluginError
	if !errors.As(failure, &said) || !said.answered || !standsOnce(list, said.Plugin) {
		return
	}
	entry := types.Entry{
		Event: types.EventRefused, Attachment: i, Plugin: said.Plugin, Code: said.Code, Error: types.Shorten(said.Msg, types.MaxEntryError),
	}
	if err := s.note(entry); err != nil {
		s.log.Warn("note which plugin of a network failed", "error", err)
	}
}

// standsOnce reports whether a list has one plugin of a name: of two, nobody could tell
// which one refused.
func standsOnce(list *libcni.NetworkConfigList, plugin string) bool {
	n := 0
	for _, p := range list.Plugins {
		if p.Network.Type == plugin {
			n++
		}
	}
	return n == 1
}

// unreadable is what plugins, the reference plugins first, say of a configuration that they
// cannot take, whatever the node is like: from the same bytes, ADD and DEL find the same.
var unreadable = []string{
	"json: cannot unmarshal", "invalid CIDR address", "invalid IP address", "failed to parse config: ",
	"no plugin name provided", "specify either",
	"invalid range set ", "no IP ranges specified", "IPAM config missing 'ipam' key", // host-local
	"invalid VLAN ID ", "incorrect trunk ", "minID and maxID should be configured", "minID is greater than maxID", // bridge, vlan
	`"master" field is required`,                     // vlan
	"must also be set", "burst cannot be more than ", // bandwidth
	"expected to have a valid vrf name", "unknown ingress policy: ", // vrf, firewall
}

// refusedOnNode is what they say of a configuration that does not fit this plugin, or this node.
var refusedOnNode = []string{"incompatible CNI versions", "invalid MTU "}

// isRefusal reports whether a failure is of the configuration alone, for sure: a failure
// that passes, and is taken for one, leaks what the ADD had allocated by then. So it is a
// list of what refusals say, and a message that has no part of it is none.
func isRefusal(failure *PluginError) bool {
	if !failure.answered || namesAnother(failure.Msg) {
		return false
	}
	return failure.Code == cnitypes.ErrIncompatibleCNIVersion || failure.Code == cnitypes.ErrUnsupportedField ||
		hasAny(failure.Msg, unreadable...) || hasAny(failure.Msg, refusedOnNode...)
}

// namesAnother reports whether a message is about another plugin, which may be mended, or
// has the text of an error of the kernel.
func namesAnother(msg string) bool {
	if hasAny(msg, "netplugin failed", "failed to find plugin") {
		return true
	}
	const last = 133 // the last error number of Linux
	for number := unix.Errno(1); number <= last; number++ {
		if unix.ErrnoName(number) != "" && strings.Contains(msg, number.Error()) {
			return true
		}
	}
	return false
}

func hasAny(msg string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(msg, part) })
}

// detachUnmade runs the DEL of every plugin of an attachment whose ADD a plugin answered with
// an error, in reverse, whatever becomes of the others: those before it did attach, and must
// not stay for its sake. It is released if each of them succeeds, never ran, or refuses its
// configuration, and the interface is not there.
func (s *session) detachUnmade(ctx context.Context, i int, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	refused := s.record.Progress[i].Refused
	last := lastOf(list, refused)
	var faults, passed []error
	for j := len(list.Plugins) - 1; j >= 0; j-- {
		one := *list
		one.Plugins = list.Plugins[j : j+1]
		err := s.libcni.DelNetworkList(ctx, &one, rt)
		switch {
		case err == nil:
		case refused != nil && (j > last || sameRefusal(err, refused)):
			passed = append(passed, describe(err))
		default:
			faults = append(faults, describe(err))
		}
	}
	if len(passed) > 0 && len(faults) == 0 {
		return s.mustBeAbsent(rt, types.Join(passed...))
	}
	return types.Join(append(faults, passed...)...)
}

// lastOf gives the last place in a list at which the plugin that refused may stand: what
// comes after it was never run. It is the end of the list if no plugin refused.
func lastOf(list *libcni.NetworkConfigList, refused *types.Refusal) int {
	for j := len(list.Plugins) - 1; j >= 0 && refused != nil; j-- {
		if list.Plugins[j].Network.Type == refused.Plugin {
			return j
		}
	}
	return len(list.Plugins) - 1
}

// sameRefusal reports whether the plugin that refused the ADD refuses now as well: in the same
// words, or because it cannot read its configuration. Where it failed before it read all of
// that, as without the host's interface, its ADD said something else.
func sameRefusal(failure error, refused *types.Refusal) bool {
	var now *PluginError
	if !errors.As(failure, &now) || !isRefusal(now) || now.Plugin != refused.Plugin {
		return false
	}
	same := now.Code == refused.Code && types.Shorten(now.Msg, types.MaxEntryError) == refused.Msg
	return same || hasAny(now.Msg, unreadable...)
}

// mustBeAbsent gives the failure if the interface is there all the same, or if that cannot
// be told. Without a namespace there is none.
func (s *session) mustBeAbsent(rt *libcni.RuntimeConf, failure error) error {
	if rt.NetNS == "" {
		return nil
	}
	sandbox, err := openSandbox(rt.NetNS)
	if err != nil {
		return types.Join(failure, err)
	}
	defer sandbox.close()
	there, err := sandbox.inspect(rt.IfName)
	if err != nil {
		return types.Join(failure, err)
	}
	if there != nil {
		return fmt.Errorf("%w; interface %s is there all the same", failure, rt.IfName)
	}
	s.log.Info("released what was never made: its plugin refuses the configuration", "interface", rt.IfName, "error", failure)
	return nil
}
