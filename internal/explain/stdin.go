package explain

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/types"
)

// stdins gives the standard input of each plugin of an attachment, without the result of the
// plugin before it. libcni itself makes them: its run of a plugin is noted, and nothing is run.
func stdins(ctx context.Context, a *types.Attachment, sandbox *types.Sandbox) ([][]byte, error) {
	list, err := libcni.NetworkConfFromBytes([]byte(a.Config))
	if err != nil {
		return nil, err
	}
	inputs := make([][]byte, len(list.Plugins))
	for i, plugin := range list.Plugins {
		one := *list
		one.Plugins = []*libcni.PluginConfig{plugin}
		noted := &noter{}
		_, err := libcni.NewCNIConfigWithCacheDir(nil, "", noted).AddNetworkList(ctx, &one, runtimeConf(a, sandbox))
		if !errors.Is(err, errNoted) {
			return nil, err
		}
		inputs[i] = noted.stdin
	}
	return inputs, nil
}

func runtimeConf(a *types.Attachment, sandbox *types.Sandbox) *libcni.RuntimeConf {
	args := make(map[string]any, len(a.CapabilityArgs))
	for capability, value := range a.CapabilityArgs {
		args[capability] = value
	}
	return &libcni.RuntimeConf{
		ContainerID: sandbox.ContainerID, NetNS: sandbox.NetNS, IfName: a.Interface, Args: a.CNIArgs(sandbox), CapabilityArgs: args,
	}
}

// errNoted ends a run that was noted, before libcni writes anything of it to disk.
var errNoted = errors.New("noted, not run")

// noter is an invoke.Exec that notes what a plugin would get.
type noter struct {
	version.PluginDecoder
	stdin []byte
}

// ExecPlugin notes the standard input, and runs nothing.
func (n *noter) ExecPlugin(_ context.Context, _ string, stdin []byte, _ []string) ([]byte, error) {
	n.stdin = stdin
	return nil, errNoted
}

// FindInPath finds every plugin: planning has looked for it.
func (*noter) FindInPath(plugin string, _ []string) (string, error) { return plugin, nil }

func sortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }
