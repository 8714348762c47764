package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/internal/window"
)

// makesDummy makes the interface that it is called for, and answers with it.
const makesDummy = `case $CNI_COMMAND in
ADD)
	nsenter --net="$CNI_NETNS" ip link add "$CNI_IFNAME" type dummy
	printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS" ;;
esac`

// What explain says that each plugin will get is what it gets, but for the result of the plugin before.
func TestNetnsExplainGivesWhatPluginsGet(t *testing.T) {
	n := node.New(t)
	for _, plugin := range []string{"first", "second"} {
		n.Plugin(plugin, makesDummy)
	}
	n.Plugin("third", `[ "$CNI_COMMAND" != ADD ] || printf %s "$stdin" | sed 's/.*"prevResult":\({[^}]*}[^}]*}\).*/\1/'`)
	secret := node.Conf{"type": "first", "password": "x", "capabilities": node.Conf{"ips": true, "bandwidth": true}}
	n.Network("lan", node.List("lan", "1.0.0", secret, node.Conf{"type": "third", "args": node.Conf{"cni": node.Conf{"b": "kept"}}}))
	n.Network("bare", node.Conf{"type": "second", "cniVersion": "1.0.0", "name": "bare"})
	n.PodWith("c1", `[{"name": "lan", "bandwidth": {"egressRate": 1000, "egressBurst": 2000}, "cni-args": {"a": [1, "<&>"]}}, {"name": "bare", "interface": "x0"}]`)
	conf := n.Conf(node.Conf{"delegates": []node.Conf{{"type": "first", "cniVersion": "1.0.0", "name": "podnet"}}})
	file := n.Path("00-plexus.conf")
	n.WriteFile(file, conf.String())

	n.Add(n.Sandbox("c1"), conf)
	calls := n.Calls()
	var planned []explain.Plugin
	for _, a := range explained(t, n, file).Attachments {
		planned = append(planned, a.Plugins...)
	}
	check.Equal(t, "number of plugins", len(planned), len(calls))
	for i, call := range calls {
		_, follows := call.Config["prevResult"]
		check.Equal(t, call.String()+": prevResult", planned[i].Follows, follows)
		delete(call.Config, "prevResult")
		stdin, err := json.Marshal(call.Config)
		check.Must(t, err)
		var got bytes.Buffer
		check.Must(t, json.Compact(&got, stdin))
		check.Equal(t, call.String(), planned[i].Stdin, got.String())
	}
}

// explained explains the pod c1 of the node's manifests.
func explained(t *testing.T, n *node.Node, config string) *explain.Pod {
	t.Helper()
	var stdout, stderr strings.Builder
	args := []string{"explain", "-f", n.Manifests, "--config", config, "--show-secrets", "-o", "json"}
	if code := window.Run(t.Context(), genericiooptions.IOStreams{Out: &stdout, ErrOut: &stderr}, args); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
	var document explain.Document
	check.Must(t, json.Unmarshal([]byte(stdout.String()), &document))
	return &document.Pods[0]
}
