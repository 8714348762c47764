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
func (s *session) noteRefusal(i int, failure error) {
	refusal := refusalOf(failure)
	if refusal == nil {
		return
	}
	entry := types.Entry{Event: types.EventRefused, Attachment: i, Plugin: refusal.Plugin, Code: refusal.Code, Error: refusal.Msg}
	if err := s.note(entry); err != nil {
		s.log.Warn("note that a plugin refused its configuration", "error", err)
	}
}

// refusalOf gives the refusal in a plugin's failure, nil if it failed for another reason.
func refusalOf(failure error) *types.Refusal {
	var said *PluginError
	if !errors.As(failure, &said) || !said.answered || !isRefusal(said) {
		return nil
	}
	return &types.Refusal{Plugin: said.Plugin, Code: said.Code, Msg: types.Shorten(said.Msg, types.MaxEntryError)}
}

// isRefusal reports whether a failure is of the configuration alone. Where the plugin's
// code does not say so, a message that names an error of the system, or a peer that did
// not answer, is of something that may have changed by the next time.
func isRefusal(failure *PluginError) bool {
	switch failure.Code {
	case cnitypes.ErrIncompatibleCNIVersion, cnitypes.ErrUnsupportedField, cnitypes.ErrDecodingFailure, types.CodeInvalidConfig:
		return true
	case types.CodeIOFailure, types.CodeTryAgainLater, types.CodeNotAvailable, types.CodeLimitedConnectivity:
		return false
	}
	return !namesTheSystem(failure.Msg)
}

// passing are words of failures that pass: of clients whose server is not there, and of
// address managers that have none left.
var passing = []string{
	"dial ", "timeout", "timed out", "deadline", "EOF", "x509", "nauthorized", "orbidden", "Get \"", "Post \"", "Patch \"", "Put \"",
	"ot found", "o addresses", "o IP", "in use",
}

// namesTheSystem reports whether a message has such words, or the text of an error of the
// kernel.
func namesTheSystem(msg string) bool {
	if slices.ContainsFunc(passing, func(words string) bool { return strings.Contains(msg, words) }) {
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
	return now.Msg == refused.Msg || isUnreadable(now.Msg) && isUnreadable(refused.Msg)
}

// isUnreadable reports whether a message is that of a reader of configurations.
func isUnreadable(msg string) bool {
	msg = strings.ToLower(msg)
	return slices.ContainsFunc([]string{"json: ", "netconf", "parse network configuration", "invalid character"}, func(words string) bool {
		return strings.Contains(msg, words)
	})
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
