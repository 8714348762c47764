package vhostuser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

func asJSON(t *testing.T, value any) map[string]any {
	t.Helper()
	data, isBytes := value.([]byte)
	if !isBytes {
		var err error
		data, err = json.Marshal(value)
		must(t, err)
	}
	var object map[string]any
	must(t, json.Unmarshal(data, &object))
	return object
}

func TestAdd(t *testing.T) {
	n := newNode(t)
	result, err := n.plugin.Add(t.Context(), n.call("c1", map[string]any{"trunk": []any{map[string]int{"id": 9}}}))
	must(t, err)
	socket := filepath.Join(n.dir, "s", "u1", "net0", "vhost.sock")
	wantResult := map[string]any{
		"cniVersion": "1.1.0",
		"interfaces": []any{map[string]any{"name": "net0", "sandbox": "/run/netns/x", "mtu": 2000.0, "socketPath": socket}},
		"ips":        []any{map[string]any{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 0.0}},
		"routes":     []any{map[string]any{"dst": "0.0.0.0/0"}},
		"dns":        map[string]any{"domain": "d"},
	}
	if diff := cmp.Diff(wantResult, asJSON(t, result)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	port := (&Attachment{Network: "fast", ContainerID: "c1", Interface: "net0"}).PortName()
	wantPorts := map[string]Port{port: {
		Name: port, Bridge: "br0", Socket: socket, VLAN: 7, Trunks: []int{9}, MTU: 2000, Queues: 2,
		Owner: Owner{Network: "fast", ContainerID: "c1", Interface: "net0", Pod: "default/p"},
	}}
	if diff := cmp.Diff(wantPorts, n.sw.ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	file, err := os.ReadFile(filepath.Join(n.dir, "s", "u1", "net0", "config.json"))
	must(t, err)
	wantFile := map[string]any{
		"version": 1.0, "network": "fast", "interface": "net0", "containerID": "c1", "socket": "/run/vhostuser/net0/vhost.sock",
		"mode": "server", "queues": 2.0, "mtu": 2000.0, "ips": wantResult["ips"], "routes": wantResult["routes"], "dns": wantResult["dns"],
	}
	if diff := cmp.Diff(wantFile, asJSON(t, file)); diff != "" {
		t.Errorf("the application's file (-want +got):\n%s", diff)
	}
	info, err := os.ReadFile(filepath.Join(n.dir, "info", "f"))
	must(t, err)
	described, err := types.ParseDeviceInfo(info)
	must(t, err)
	wantInfo := &types.DeviceInfo{Type: "vhost-user", Version: "1.1.0", VhostUser: &types.VhostUserDevice{Mode: "server", Path: "/run/vhostuser/net0/vhost.sock"}}
	if diff := cmp.Diff(wantInfo, described); diff != "" {
		t.Errorf("device information (-want +got):\n%s", diff)
	}
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL again")
}

// The readers of the Userspace CNI plugin's file find their keys in ours.
func TestAddAsTheUserspacePlugin(t *testing.T) {
	n := newNode(t)
	conf := map[string]any{
		"bridge": nil, "vlan": nil, "socketDir": nil, "sharedDir": filepath.Join(n.dir, "s"),
		"host": map[string]any{"engine": "ovs-dpdk", "iftype": "vhostuser", "vhost": map[string]any{"mode": "client"}, "bridge": map[string]any{"bridgeName": "br-4"}},
	}
	n.add("0123456789abcdef", conf)
	file, err := os.ReadFile(filepath.Join(n.dir, "s", "0123456789ab", "configData-0123456789ab-net0.json"))
	must(t, err)
	got := asJSON(t, file)
	for key, want := range map[string]any{
		"containerId": "0123456789abcdef", "ifName": "net0", "name": "fast", "socket": "/var/lib/cni/usrspcni/0123456789ab/0123456789ab-net0",
		"config": map[string]any{
			"iftype": "vhostuser", "netType": "interface", "memif": map[string]any{}, "bridge": map[string]any{},
			"vhost": map[string]any{"mode": "server", "socketfile": "0123456789ab-net0"},
		},
	} {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if ips := got["ipResult"].(map[string]any)["ips"]; ips == nil {
		t.Errorf("ipResult has no addresses: %v", got["ipResult"])
	}
	// Two interfaces of a sandbox share the folder: the last one takes it away.
	second := n.call("0123456789abcdef", conf)
	second.Interface = "net1"
	_, err = n.plugin.Add(t.Context(), second)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(n.dir, "s", "0123456789ab", "app.log"), nil, 0o600))
	must(t, n.plugin.Del(t.Context(), n.call("0123456789abcdef", conf)))
	want := []string{"app.log", "configData-0123456789ab-net1.json"}
	if diff := cmp.Diff(want, readNames(t, filepath.Join(n.dir, "s", "0123456789ab"))); diff != "" {
		t.Errorf("after the first DEL (-want +got):\n%s", diff)
	}
	must(t, n.plugin.Del(t.Context(), second))
	delete(n.manager.held, "")
	if entries := readNames(t, filepath.Join(n.dir, "s")); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

func codeOf(err error) uint { return types.CodeOf(err, types.CodeFailed) }

// Whatever fails, what was done before it is undone, and the error says what it was.
func TestAddUndoes(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil  func(n *node)
		change map[string]any
		code   uint
		words  []string
	}{
		"configuration": {func(*node) {}, map[string]any{"vlan": 5000, "mtu": 1}, types.CodeInvalidConfig, []string{`network "fast"`, "vlan:", "mtu:"}},
		"path": {
			func(*node) {}, map[string]any{"podDir": "/" + strings.Repeat("x", 120), "queues": 0}, types.CodeInvalidConfig, []string{"podDir:", "at most 107", "queues:"},
		},
		"socketfile": {
			func(*node) {}, map[string]any{"bridge": nil, "vlan": nil, "socketDir": nil, "host": map[string]any{
				"engine": "ovs-dpdk", "iftype": "vhostuser", "vhost": map[string]any{"mode": "client", "socketfile": "configData-c1-net0.json"},
			}}, types.CodeInvalidConfig, []string{"host.vhost.socketfile:"},
		},
		"switch down":    {func(n *node) { n.sw.fail["Open"] = ErrUnreachable }, nil, types.CodeTryAgainLater, []string{ErrUnreachable.Error()}},
		"no bridge":      {func(n *node) { n.sw.fail["Ready"] = fmt.Errorf("bridge br0: %w", ErrUnfit) }, nil, types.CodeFailed, []string{"bridge br0"}},
		"IPAM not there": {func(n *node) { n.manager.fail["find"] = errBroken }, nil, types.CodeInvalidConfig, []string{"ipam.type: IPAM plugin fake", "CNI_PATH"}},
		"IPAM":           {func(n *node) { n.manager.fail["ADD"] = &cnitypes.Error{Code: 77, Msg: "no addresses"} }, nil, 77, []string{"IPAM plugin fake (ADD)", "no addresses"}},
		"folder":         {func(n *node) { must(n.t, os.WriteFile(filepath.Join(n.dir, "s"), nil, 0o600)) }, nil, types.CodeIOFailure, []string{"socket folder"}},
		"device info":    {func(n *node) { must(n.t, os.WriteFile(filepath.Join(n.dir, "info"), nil, 0o600)) }, nil, types.CodeIOFailure, []string{"device information"}},
		"port":           {func(n *node) { n.sw.fail["Plug"] = errBroken }, nil, types.CodeFailed, []string{"broken"}},
		"port, down":     {func(n *node) { n.sw.fail["Plug"] = context.DeadlineExceeded }, nil, types.CodeTryAgainLater, []string{"deadline"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			tc.spoil(n)
			before := n.left()
			_, err := n.plugin.Add(t.Context(), n.call("c1", tc.change))
			if err == nil || codeOf(err) != tc.code {
				t.Fatalf("got %v with code %d, want code %d", err, codeOf(err), tc.code)
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not say %q", err, word)
				}
			}
			if name == "device info" {
				must(t, os.RemoveAll(filepath.Join(n.dir, "info"))) // it was in the way of the undo too
				before = nil
			} else if diff := cmp.Diff(before, n.left()); diff != "" {
				t.Errorf("after ADD (-before +after):\n%s", diff)
			}
			// What the undo could not do, DEL does; and after one that could, it is a success.
			must(t, n.plugin.Del(t.Context(), n.call("c1", tc.change)))
			if diff := cmp.Diff(append([]string{}, before...), n.left()); diff != "" {
				t.Errorf("after DEL (-before +after):\n%s", diff)
			}
		})
	}
}

// DEL with the switch down keeps what it needs, says so, and succeeds later.
func TestDelWithTheSwitchDown(t *testing.T) {
	n := newNode(t)
	n.add("c1", nil)
	n.sw.fail["Open"] = ErrUnreachable
	for range 2 {
		err := n.plugin.Del(t.Context(), n.call("c1", nil))
		if !errors.Is(err, ErrUnreachable) || codeOf(err) != types.CodeTryAgainLater {
			t.Fatalf("got %v", err)
		}
	}
	if left := n.left(); len(left) != 2 || !strings.HasPrefix(left[0], "port ") || !strings.HasPrefix(left[1], "state/") {
		t.Errorf("left: %q, want the port and the state alone", left)
	}
	n.sw.fail["Open"] = nil
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
}

// A DEL first, of an attachment that never was, is a success: also with the switch down,
// and with a configuration that no ADD takes.
func TestDelOfNothing(t *testing.T) {
	for name, change := range map[string]map[string]any{"right": nil, "faulty": {"vlan": 5000}} {
		n := newNode(t)
		n.sw.fail["Open"] = ErrUnreachable
		if err := n.plugin.Del(t.Context(), n.call("c1", change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n.mustBeClean(name)
	}
}

// DEL goes by what ADD has written down, not by what the configuration says now.
func TestDelAfterTheConfigurationHasChanged(t *testing.T) {
	n := newNode(t)
	n.add("c1", nil)
	must(t, n.plugin.Del(t.Context(), n.call("c1", map[string]any{"socketDir": "/elsewhere", "bridge": "other", "vlan": 5000, "runtimeConfig": nil})))
	n.mustBeClean("after DEL")
}

func TestDelWithADamagedState(t *testing.T) {
	n := newNode(t)
	n.add("c1", nil)
	port := (&Attachment{Network: "fast", ContainerID: "c1", Interface: "net0"}).PortName()
	must(t, os.WriteFile(filepath.Join(n.dir, "state", port+".json"), []byte(`{"format": 1}`), 0o600))
	if err := n.plugin.Del(t.Context(), n.call("c1", map[string]any{"vlan": 5000})); err == nil {
		t.Error("nothing says what to release, and it was a success")
	}
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
}

// A new sandbox of a pod has the folder of the old one, which is released first; a late
// DEL of the old one then takes nothing away.
func TestNewSandboxOfThePod(t *testing.T) {
	n := newNode(t)
	n.add("old", nil)
	must(t, os.WriteFile(filepath.Join(n.dir, "s", "u1", "net0", "stale"), nil, 0o600))
	n.add("new", map[string]any{"runtimeConfig": nil})
	before := n.left()
	if len(n.sw.ports) != 1 || n.manager.held["old/net0"] || strings.Contains(strings.Join(before, " "), "stale") {
		t.Errorf("of the old one is left: %q", before)
	}
	must(t, n.plugin.Del(t.Context(), n.call("old", nil)))
	if diff := cmp.Diff(before, n.left()); diff != "" {
		t.Errorf("the late DEL took away (-before +after):\n%s", diff)
	}
	must(t, n.plugin.Del(t.Context(), n.call("new", nil)))
	n.mustBeClean("after DEL")
}

// Plexus gives the file a name of as many bytes as there can be.
func TestDeviceInfoOfTheLongestName(t *testing.T) {
	n := newNode(t)
	path := filepath.Join(n.dir, "info", strings.Repeat("x", 255))
	n.add("c1", map[string]any{"runtimeConfig": map[string]any{"CNIDeviceInfoFile": path}})
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
}

// A writer of the file that was killed leaves it under another name; DEL removes it, with a state and
// without.
func TestUnfinishedDeviceInfo(t *testing.T) {
	n := newNode(t)
	unfinished := filepath.Join(n.dir, "info", ".new-af63db4c8601ead9") // that of the file "f"
	for _, add := range []func(){func() { n.add("c1", nil) }, func() {}} {
		add()
		must(t, os.MkdirAll(filepath.Dir(unfinished), 0o755))
		must(t, os.WriteFile(unfinished, []byte("{"), 0o600))
		must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
		n.mustBeClean("after DEL")
	}
}

func TestAddAgain(t *testing.T) {
	n := newNode(t)
	n.add("c1", nil)
	n.add("c1", nil)
	if len(n.sw.ports) != 1 {
		t.Errorf("ports: %v", n.sw.ports)
	}
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
}

func TestCheck(t *testing.T) {
	prev := &current.Result{CNIVersion: "1.1.0", Interfaces: []*current.Interface{{Name: "net0"}}}
	file := func(n *node) string { return filepath.Join(n.dir, "s", "u1", "net0", "config.json") }
	alter := func(change func(*Port)) func(*node) {
		return func(n *node) {
			for name, port := range n.sw.ports {
				change(&port)
				n.sw.ports[name] = port
			}
		}
	}
	for name, tc := range map[string]struct {
		spoil func(n *node)
		word  string // "" for success
	}{
		"whole":        {func(*node) {}, ""},
		"no port":      {func(n *node) { n.sw.ports = nil }, ErrNoPort.Error()},
		"bridge":       {alter(func(p *Port) { p.Bridge = "x" }), "bridge is x"},
		"VLAN":         {alter(func(p *Port) { p.VLAN = 0 }), "VLAN is 0, was made as 7"},
		"trunk":        {alter(func(p *Port) { p.Trunks = []int{1} }), "trunk is [1]"},
		"socket":       {alter(func(p *Port) { p.Socket = "/x" }), "socket is /x"},
		"MTU":          {alter(func(p *Port) { p.MTU = 1 }), "MTU is 1"},
		"queues":       {alter(func(p *Port) { p.Queues = 1 }), "queues is 1"},
		"owner":        {alter(func(p *Port) { p.Owner.Pod = "x" }), "owner is"},
		"problem":      {alter(func(p *Port) { p.Problem = "broken" }), "broken"},
		"file":         {func(n *node) { must(n.t, os.Remove(file(n))) }, "configuration file"},
		"file changed": {func(n *node) { must(n.t, os.WriteFile(file(n), []byte("{}"), 0o600)) }, "is not what was written"},
		"folder":       {func(n *node) { must(n.t, os.Chmod(filepath.Dir(file(n)), 0o777)) }, "socket folder"},
		"IPAM":         {func(n *node) { n.manager.fail["CHECK"] = errBroken }, "IPAM plugin fake (CHECK)"},
		"state":        {func(n *node) { must(n.t, os.RemoveAll(filepath.Join(n.dir, "state"))) }, "is not attached"},
		"switch down":  {func(n *node) { n.sw.fail["Open"] = ErrUnreachable }, ErrUnreachable.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.add("c1", nil)
			tc.spoil(n)
			err := n.plugin.Check(t.Context(), n.call("c1", map[string]any{"prevResult": prev}))
			if tc.word == "" && err != nil || tc.word != "" && (err == nil || !strings.Contains(err.Error(), tc.word)) {
				t.Errorf("got %v, want %q", err, tc.word)
			}
		})
	}
	n := newNode(t)
	n.add("c1", nil)
	for name, change := range map[string]map[string]any{
		"no prevResult": nil, "another's": {"prevResult": &current.Result{CNIVersion: "1.1.0"}}, "none": {"prevResult": 1}, "faulty": {"mtu": 1},
	} {
		if err := n.plugin.Check(t.Context(), n.call("c1", change)); err == nil {
			t.Errorf("%s: success", name)
		}
	}
}

func TestGC(t *testing.T) {
	n := newNode(t)
	for _, id := range []string{"c1", "c2"} {
		call := n.call(id, nil)
		call.Args = ""
		_, err := n.plugin.Add(t.Context(), call)
		must(t, err)
	}
	other := n.call("c3", map[string]any{"name": "other"})
	_, err := n.plugin.Add(t.Context(), other)
	must(t, err)
	lost := Port{Name: "lost", Owner: Owner{Network: "fast", ContainerID: "c4", Interface: "net0"}}
	n.sw.ports[lost.Name] = lost
	gc := func(valid any) error {
		return n.plugin.GC(t.Context(), &Call{Config: n.conf(map[string]any{"cni.dev/valid-attachments": valid})})
	}
	if err := gc(nil); codeOf(err) != types.CodeInvalidConfig || len(n.sw.ports) != 4 {
		t.Errorf("without a list: %v, %d ports", err, len(n.sw.ports))
	}
	n.manager.calls = nil
	must(t, gc([]types.GCAttachment{{ContainerID: "c1", IfName: "net0"}}))
	if diff := cmp.Diff([]string{"DEL c2/net0", "GC /"}, n.manager.calls); diff != "" {
		t.Errorf("calls of IPAM (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"c1", "u1"}, readNames(t, filepath.Join(n.dir, "s"))); diff != "" || len(n.sw.ports) != 2 {
		t.Errorf("left %d ports, folders (-want +got):\n%s", len(n.sw.ports), diff)
	}
	n.sw.fail["Unplug"] = ErrUnreachable
	if err := gc([]types.GCAttachment{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	n.sw.fail["Unplug"] = nil
	must(t, gc([]types.GCAttachment{}))
	must(t, n.plugin.Del(t.Context(), other))
	n.mustBeClean("after GC of all and DEL of the other network's")
}

func TestStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		fail   func(n *node)
		change map[string]any
		code   uint // 0 for success
	}{
		"well":        {func(*node) {}, nil, 0},
		"down":        {func(n *node) { n.sw.fail["Open"] = ErrUnreachable }, nil, types.CodeNotAvailable},
		"unfit":       {func(n *node) { n.sw.fail["Ready"] = fmt.Errorf("bridge br0: %w", ErrUnfit) }, nil, types.CodeLimitedConnectivity},
		"slow":        {func(n *node) { n.sw.fail["Ready"] = context.DeadlineExceeded }, nil, types.CodeNotAvailable},
		"IPAM":        {func(n *node) { n.manager.fail["STATUS"] = errBroken }, nil, types.CodeNotAvailable},
		"faulty":      {func(*node) {}, map[string]any{"vlan": -1}, types.CodeInvalidConfig},
		"without one": {func(n *node) { n.manager.fail["STATUS"] = errBroken }, map[string]any{"ipam": nil}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			tc.fail(n)
			err := n.plugin.Status(t.Context(), &Call{Config: n.conf(tc.change)})
			if tc.code == 0 && err != nil || tc.code != 0 && (err == nil || codeOf(err) != tc.code) {
				t.Errorf("got %v with code %d, want code %d", err, codeOf(err), tc.code)
			}
		})
	}
}
