package delegate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/plexus-cni/plexus/types"
)

// specNode is an engine on a node whose plugins are scripts that note their calls, and
// a call for one container.
type specNode struct {
	dir    string
	engine *Engine
	call   *Call
	source *specSource
}

// specSource knows one pod and its networks, and keeps what is published.
type specSource struct {
	facts     types.Facts
	local     types.Facts // what the node knows by itself
	asked     int
	published []*types.PublishRequest
}

func (s *specSource) Facts(context.Context, *types.FactsRequest) (*types.Facts, error) {
	s.asked++
	return &s.facts, nil
}

func (s *specSource) Publish(_ context.Context, request *types.PublishRequest) (bool, error) {
	s.published = append(s.published, request)
	return true, nil
}

func (s *specSource) Local(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return &s.local, nil
}

// specScript is every plugin. It notes the beginning and the end of a call, fails where
// the test left a file that says so, and prints the result that the test left for its
// name, else one of its interface.
const specScript = `#!/bin/sh
dir=$(dirname "$0")/..
plugin=$(basename "$0")
stdin=$(cat)
note() {
	printf '{"phase":"%s","command":"%s","plugin":"%s","container":"%s","ifname":"%s","stdin":%s}\n' \
		"$1" "$CNI_COMMAND" "$plugin" "$CNI_CONTAINERID" "$CNI_IFNAME" "$stdin" >>"$dir/log"
}
note begin
if [ -e "$dir/fail.$CNI_COMMAND.$CNI_IFNAME" ]; then
	note end
	printf '{"cniVersion":"1.0.0","code":900,"msg":"%s says no to %s"}' "$plugin" "$CNI_COMMAND"
	exit 1
fi
if [ "$CNI_COMMAND" = ADD ] && [ -e "$dir/result.$plugin" ]; then
	cat "$dir/result.$plugin"
elif [ "$CNI_COMMAND" = ADD ]; then
	printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
fi
note end
`

// specPlugins are the names of the scripts.
var specPlugins = []string{"first", "second", "third", "chained"}

// newSpecNode makes the node. Its default network is that of plugin first; the pod
// default/web selects networks by the annotation, each of which is that of the plugin
// of its name, followed by the plugin chained.
func newSpecNode(t *testing.T, annotation string) *specNode {
	t.Helper()
	n := &specNode{dir: t.TempDir()}
	for _, plugin := range specPlugins {
		writeTestFile(t, filepath.Join(n.dir, "bin", plugin), specScript, 0o755)
	}
	text := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "outer", "type": "plexus", "cniDir": %q, "confDir": %q,
		"runtimeConfig": {"portMappings": []}, "delegates": [%s]}`, n.dir+"/state", n.dir+"/net.d", specConf("first"))
	config, _, err := types.ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	pod := types.Pod{Namespace: "default", Name: "web", UID: "u1"}
	n.call = &Call{Pod: pod, Sandbox: types.Sandbox{ContainerID: "c1", NetNS: filepath.Join(n.dir, "no-namespace"), IfName: "eth0"}}
	pod.Annotations = map[string]string{types.AnnotationNetworks: annotation}
	n.source = &specSource{facts: types.Facts{Pod: pod}}
	for _, plugin := range specPlugins {
		ref := types.Ref{Namespace: "default", Name: plugin}
		n.source.facts.Networks = append(n.source.facts.Networks, types.Network{Ref: ref, Config: specConf(plugin)})
	}
	n.engine = &Engine{
		Config: config, Path: []string{filepath.Join(n.dir, "bin")}, Source: n.source,
		RuntimeCacheDir: filepath.Join(n.dir, "runtime"), BootID: "this-boot", Log: slog.New(slog.DiscardHandler),
	}
	return n
}

func specConf(plugin string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "net-of-%s", "plugins": [{"type": %q, "capabilities": {"portMappings": true}}, {"type": "chained"}]}`, plugin, plugin)
}

// newSpecSandbox makes the node with a network namespace for its container.
func newSpecSandbox(t *testing.T, annotation string) *specNode {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: make test-netns as root runs these tests, make test-unit leaves them out")
	}
	n := newSpecNode(t, annotation)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	sandbox, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Close() })
	if err := netns.Set(own); err != nil {
		panic(err) // this thread must not go on in the sandbox
	}
	n.call.Sandbox.NetNS = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(sandbox))
	return n
}

// result leaves what a plugin is to print for ADD; NETNS in it is the namespace.
func (n *specNode) result(t *testing.T, plugin, text string) {
	t.Helper()
	writeTestFile(t, filepath.Join(n.dir, "result."+plugin), strings.ReplaceAll(text, "NETNS", n.call.Sandbox.NetNS), 0o600)
}

// fail makes the calls of a command for an interface fail.
func (n *specNode) fail(t *testing.T, command, ifName string) {
	t.Helper()
	writeTestFile(t, filepath.Join(n.dir, "fail."+command+"."+ifName), "", 0o600)
}

// hang makes a plugin note its calls and never end.
func (n *specNode) hang(t *testing.T, plugin string) {
	t.Helper()
	never, _ := fifo(t)
	text := strings.Replace(specScript, "note begin\n", "note begin\nread x <"+never+"\n", 1)
	writeTestFile(t, filepath.Join(n.dir, "bin", plugin), text, 0o755)
}

// specCall is what a plugin noted.
type specCall struct {
	Phase, Command, Plugin, Container, IfName string
	Stdin                                     struct {
		CNIVersion, Name, Type string
		PrevResult             json.RawMessage
		RuntimeConfig          json.RawMessage
	}
}

func (c *specCall) String() string { return c.Command + " " + c.Plugin + " " + c.IfName }

// notes gives everything that the plugins noted, in order.
func (n *specNode) notes(t *testing.T) []specCall {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var notes []specCall
	for line := range strings.Lines(string(data)) {
		var c specCall
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		notes = append(notes, c)
	}
	return notes
}

// begun gives the beginnings of calls, without VERSION.
func (n *specNode) begun(t *testing.T) []specCall {
	t.Helper()
	return slices.DeleteFunc(n.notes(t), func(c specCall) bool { return c.Phase != "begin" || c.Command == "VERSION" })
}

// calls gives the calls of plugins, in order, as "ADD first eth0", without those of the
// plugin that ends every chain.
func (n *specNode) calls(t *testing.T) []string {
	t.Helper()
	var calls []string
	for _, c := range n.begun(t) {
		if c.Plugin != "chained" {
			calls = append(calls, c.String())
		}
	}
	return calls
}

// add runs an ADD that must succeed, and gives the status that it published.
func (n *specNode) add(t *testing.T) []types.NetworkStatus {
	t.Helper()
	if _, err := n.engine.Add(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	if len(n.source.published) != 1 {
		t.Fatalf("%d publications, want 1", len(n.source.published))
	}
	return n.source.published[0].Status
}

// TestSpec_6_1_2_AddWaitsForReadiness: nothing is asked or attached before the default
// network is ready.
func TestSpec_6_1_2_AddWaitsForReadiness(t *testing.T) {
	node := newSpecNode(t, "")
	node.call.Sandbox.NetNS = "/proc/self/ns/net"
	ready := filepath.Join(node.dir, "ready")
	node.engine.Config.ReadinessIndicatorFile = ready
	node.engine.Config.AddTimeout = types.Duration(50 * time.Millisecond)
	_, err := node.engine.Add(t.Context(), node.call)
	if err == nil || types.CodeOf(err, 0) != types.CodeNotAvailable || !strings.Contains(err.Error(), ready) {
		t.Errorf("ADD gives %v, want code %d and the file's name", err, types.CodeNotAvailable)
	}
	if node.source.asked != 0 || len(node.calls(t)) != 0 {
		t.Errorf("it asked %d times for facts, plugins were called %v", node.source.asked, node.calls(t))
	}
	writeTestFile(t, ready, "", 0o600)
	plan, err := node.engine.plan(t.Context(), node.call)
	if err != nil || len(plan.Attachments) != 1 {
		t.Errorf("with the file there is %v, %v", plan, err)
	}
}
