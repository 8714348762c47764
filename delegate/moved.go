package delegate

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/libcni"
)

// The plugins sbr and vrf move the routes of an interface into a table of its own. The
// plugins before them in the list look for them in the main table, so that their CHECK can
// never succeed, and with it no pod on a runtime that checks after each ADD.

// checkList runs CHECK of every plugin of a list. What a plugin misses because a later one
// moved it is no failure, and the plugins after it are checked all the same.
func (s *session) checkList(ctx context.Context, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	rest := *list
	for {
		err := describe(s.libcni.CheckNetworkList(ctx, &rest, rt))
		next := afterMoved(&rest, err)
		if next == 0 {
			return err
		}
		s.log.Debug("a plugin does not find the routes that a later one moved", "interface", rt.IfName, "error", err)
		rest.Plugins = rest.Plugins[next:]
	}
}

// afterMoved gives the place after the plugin that misses nothing but routes, if a plugin that
// moves them comes after it; else 0.
func afterMoved(list *libcni.NetworkConfigList, err error) int {
	var failure *PluginError
	if !errors.As(err, &failure) || !hasAny(failure.Msg, "Failed to find Gateway", "Expected Route") {
		return 0
	}
	next := 0
	for i, plugin := range list.Plugins {
		switch plugin.Network.Type {
		case failure.Plugin:
			if next == 0 {
				next = i + 1
			}
		case "sbr", "vrf":
			return next
		}
	}
	return 0
}
