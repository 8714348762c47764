package confdir

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// loopbackType is the plugin of a network that leads nowhere.
const loopbackType = "loopback"

// containerBridges are the networks that container tools make for containers of this node
// alone: by their name with a plugin bridge, or by what their bridges are called.
var containerBridges = []struct{ tool, network, bridges string }{
	{"CRI-O", "crio", ""},
	{"podman", "podman", "cni-podman"},
	{"nerdctl", "", "nerdctl"},
}

// localNetwork says why a network is no cluster's, "" if it may be one.
func localNetwork(data []byte, conf *types.NetConf) string {
	isLoopback := func(p types.PluginConf) bool { return p.Type == loopbackType }
	if len(conf.Plugins) > 0 && !slices.ContainsFunc(conf.Plugins, func(p types.PluginConf) bool { return !isLoopback(p) }) {
		return "it has nothing but loopback"
	}
	bridge, found := bridgeOf(data)
	if !found {
		return ""
	}
	for _, known := range containerBridges {
		byName := known.network != "" && conf.Name == known.network
		byBridge := known.bridges != "" && strings.HasPrefix(bridge, known.bridges)
		if byName || byBridge {
			return fmt.Sprintf("it is the bridge that %s has for containers of this node", known.tool)
		}
	}
	return ""
}

// bridgeOf gives the bridge of the first plugin of a network, if that is the plugin bridge.
func bridgeOf(data []byte) (name string, found bool) {
	type plugin struct{ Type, Bridge string }
	var conf struct {
		plugin
		Plugins []plugin
	}
	_ = json.Unmarshal(data, &conf) // what can be read of it counts
	first := append(conf.Plugins, conf.plugin)[0]
	return first.Bridge, first.Type == "bridge"
}

// DanglingLink says what to mount if a path is a link to what is not to be seen here, ""
// otherwise.
func DanglingLink(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err == nil {
		return ""
	}
	return fmt.Sprintf("a link to %s, which is not to be seen here: mount it too, by the same path", target)
}
