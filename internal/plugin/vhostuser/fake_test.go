package vhostuser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/version"
)

// fakeSwitch is a Switch in memory that fails as a test wants.
type fakeSwitch struct {
	ports map[string]Port
	fail  map[string]error // by method; "Open" too
	open  int
}

func (s *fakeSwitch) Open(context.Context, string) (Switch, error) {
	if err := s.fail["Open"]; err != nil {
		return nil, err
	}
	s.open++
	return s, nil
}

func (s *fakeSwitch) Ready(context.Context, string) error { return s.fail["Ready"] }

// Plug makes the port also when it is to fail: that is what undo is for.
func (s *fakeSwitch) Plug(_ context.Context, port *Port) error {
	s.ports[port.Name] = *port
	return s.fail["Plug"]
}

func (s *fakeSwitch) Unplug(_ context.Context, name string) error {
	if err := s.fail["Unplug"]; err != nil {
		return err
	}
	delete(s.ports, name)
	return nil
}

func (s *fakeSwitch) Port(_ context.Context, name string) (*Port, error) {
	port, ok := s.ports[name]
	if !ok {
		return nil, ErrNoPort
	}
	return &port, s.fail["Port"]
}

func (s *fakeSwitch) Owned(_ context.Context, network string) ([]Port, error) {
	var ports []Port
	for _, port := range s.ports {
		if port.Owner.Network == network {
			ports = append(ports, port)
		}
	}
	return ports, s.fail["Owned"]
}

func (s *fakeSwitch) Close() { s.open-- }

// fakeIPAM is libcni's seam: an address manager in memory.
type fakeIPAM struct {
	version.PluginDecoder
	held  map[string]bool // by container and interface
	fail  map[string]error
	calls []string
}

func (f *fakeIPAM) FindInPath(plugin string, _ []string) (string, error) {
	return "/bin/" + plugin, f.fail["find"]
}

func (f *fakeIPAM) ExecPlugin(_ context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	env := map[string]string{}
	for _, pair := range environ {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	if path != "/bin/fake" || !json.Valid(stdin) {
		return nil, fmt.Errorf("ran %s with %s", path, stdin)
	}
	command, key := env["CNI_COMMAND"], env["CNI_CONTAINERID"]+"/"+env["CNI_IFNAME"]
	f.calls = append(f.calls, command+" "+key)
	switch command {
	case "ADD":
		f.held[key] = true
	case "DEL":
		delete(f.held, key)
	}
	return []byte(`{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "d"}}`), f.fail[command]
}

// node is where the plugin of a test runs.
type node struct {
	t       *testing.T
	dir     string
	sw      *fakeSwitch
	manager *fakeIPAM
	plugin  *Plugin
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), sw: &fakeSwitch{ports: map[string]Port{}, fail: map[string]error{}}}
	n.manager = &fakeIPAM{held: map[string]bool{}, fail: map[string]error{}}
	n.plugin = &Plugin{Open: n.sw.Open, Exec: n.manager, Path: "/bin"}
	return n
}

// conf gives a whole configuration, with changes; nil takes a key out.
func (n *node) conf(change map[string]any) []byte {
	n.t.Helper()
	conf := map[string]any{
		"cniVersion": "1.1.0", "name": "fast", "type": "plexus-vhostuser", "bridge": "br0", "vlan": 7, "mtu": 2000, "queues": 2,
		"uid": os.Getuid(), "gid": os.Getgid(), "socketDir": filepath.Join(n.dir, "s"), "stateDir": filepath.Join(n.dir, "state"),
		"runtimeConfig": map[string]any{"CNIDeviceInfoFile": filepath.Join(n.dir, "info", "f")}, "ipam": map[string]any{"type": "fake"},
	}
	maps.Copy(conf, change)
	maps.DeleteFunc(conf, func(_ string, value any) bool { return value == nil })
	data, err := json.Marshal(conf)
	must(n.t, err)
	return data
}

// call gives a call for a sandbox of the pod u1, by its container's ID.
func (n *node) call(container string, change map[string]any) *Call {
	n.t.Helper()
	return &Call{
		ContainerID: container, Interface: "net0", NetNS: "/run/netns/x",
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID=u1", Config: n.conf(change),
	}
}

// left gives all that is left of anything, sorted.
func (n *node) left() []string {
	n.t.Helper()
	left := []string{}
	for name := range n.sw.ports {
		left = append(left, "port "+name)
	}
	for key := range n.manager.held {
		left = append(left, "address of "+key)
	}
	must(n.t, filepath.WalkDir(n.dir, func(path string, entry os.DirEntry, err error) error {
		relative, _ := filepath.Rel(n.dir, path)
		if !entry.IsDir() || strings.Count(relative, "/") > 0 {
			left = append(left, relative)
		}
		return err
	}))
	slices.Sort(left)
	if n.sw.open != 0 {
		n.t.Errorf("%d connections to the switch are open", n.sw.open)
	}
	return left
}

func (n *node) mustBeClean(when string) {
	n.t.Helper()
	if left := n.left(); len(left) > 0 {
		n.t.Errorf("%s: left: %q", when, left)
	}
}

func (n *node) add(container string, change map[string]any) {
	n.t.Helper()
	if _, err := n.plugin.Add(n.t.Context(), n.call(container, change)); err != nil {
		n.t.Fatal(err)
	}
}

var errBroken = errors.New("broken")
