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

// noteRefusal notes that a plugin refused the configuration of an attachment, if that is
// what failed: a later DEL compares its own failure with it.
func (s *session) noteRefusal(i int, list *libcni.NetworkConfigList, failure error) {
	refusal := refusalOf(failure)
	if refusal == nil || !standsOnce(list, refusal.Plugin) {
		return
	}
	entry := types.Entry{Event: types.EventRefused, Attachment: i, Plugin: refusal.Plugin, Code: refusal.Code, Error: refusal.Msg}
	if err := s.note(entry); err != nil {
		s.log.Warn("note that a plugin refused its configuration", "error", err)
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

// refusalOf gives the refusal in a plugin's failure, nil if it failed for another reason.
func refusalOf(failure error) *types.Refusal {
	var said *PluginError
	if !errors.As(failure, &said) || !said.answered || !isRefusal(said) {
		return nil
	}
	return &types.Refusal{Plugin: said.Plugin, Code: said.Code, Msg: types.Shorten(said.Msg, types.MaxEntryError)}
}

// isRefusal reports whether a failure is of the configuration alone, for sure: a failure
// that passes, and is taken for one, leaks what the ADD had allocated by then. So it is a
// list of what refusals say, and a message that has no part of it is none.
func isRefusal(failure *PluginError) bool {
	if namesAnother(failure.Msg) {
		return false
	}
	return failure.Code == cnitypes.ErrIncompatibleCNIVersion || failure.Code == cnitypes.ErrUnsupportedField ||
		hasAny(failure.Msg, unreadable, "invalid CIDR address", "incompatible CNI versions", "specify either")
}

// unreadable is what Go's reader says of a value of the wrong type.
const unreadable = "json: cannot unmarshal"

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

// detachUnmade runs the DEL of every plugin of an attachment whose ADD gave no result, in
// reverse, whatever becomes of the others. It is released if each of them succeeds, never
// ran, or refuses as it refused the ADD, and the interface is not there.
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

// sameRefusal reports whether a plugin fails as it refused the ADD: in the same words, or
// both times because it could not read its configuration. Some read it with another piece
// of code, and so in other words, in DEL.
func sameRefusal(failure error, refused *types.Refusal) bool {
	now := refusalOf(failure)
	if now == nil || now.Plugin != refused.Plugin || now.Code != refused.Code {
		return false
	}
	return now.Msg == refused.Msg || strings.Contains(now.Msg, unreadable) && strings.Contains(refused.Msg, unreadable)
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
