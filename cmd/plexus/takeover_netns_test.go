package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// attachBare attaches a sandbox by libcni alone, as a runtime does without plexus or
// as Multus does, with the cache in dir.
func attachBare(t *testing.T, n *node.Node, list node.Conf, dir string, rt *libcni.RuntimeConf) {
	t.Helper()
	parsed, err := libcni.NetworkConfFromBytes([]byte(list.String()))
	if err != nil {
		t.Fatal(err)
	}
	n.Do(func() error {
		cni := libcni.NewCNIConfigWithCacheDir([]string{n.PluginDir, n.CNIBin}, dir, nil)
		_, err := cni.AddNetworkList(context.Background(), parsed, rt)
		return err
	})
}

// mappings are what a runtime hands over for a pod with a port of the host.
var mappings = []any{map[string]any{"hostPort": 8080.0, "containerPort": 80.0, "protocol": "tcp"}}

func portMappings(t *testing.T, c node.PluginCall) []any {
	t.Helper()
	var given struct{ PortMappings []any }
	if err := json.Unmarshal(c.Config["runtimeConfig"], &given); err != nil {
		t.Fatalf("%s: runtimeConfig: %v", c, err)
	}
	return given.PortMappings
}

func TestNetnsDelOfAPodOlderThanPlexus(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge", "portmap")
	pod := n.Sandbox("c1")
	list := node.List("cbr0", "1.0.0", node.ClusterBridge(),
		node.Conf{"type": "portmap", "capabilities": node.Conf{"portMappings": true}})
	rt := pod.RuntimeConf("eth0")
	rt.CapabilityArgs = map[string]any{"portMappings": mappings}
	attachBare(t, n, list, libcni.CacheDir, rt)
	n.Calls()
	n.Del(pod, n.Conf(node.Conf{"delegates": []node.Conf{list}}))
	calls := n.Calls()
	check.Equal(t, "number of calls", len(calls), 2)
	check.Equal(t, "calls", calls[0].String()+", "+calls[1].String(), "DEL portmap eth0, DEL bridge eth0")
	check.Equal(t, "port mappings", portMappings(t, calls[0]), mappings)
	for _, c := range calls {
		if c.Config["prevResult"] == nil {
			t.Errorf("%s has no prevResult", c)
		}
	}
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	n.MustBeClean()
}

func TestNetnsDelOfAPodOlderThanPlexusByClusterNetwork(t *testing.T) {
	for name, where := range map[string]string{"file": "10-cbr0.conflist", "folder": "", "name": "cbr0"} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			pod := n.Sandbox("c1")
			list := node.List("cbr0", "1.0.0", node.ClusterBridge())
			n.WriteFile(filepath.Join(n.ConfDir, "10-cbr0.conflist"), list.String())
			attachBare(t, n, list, libcni.CacheDir, pod.RuntimeConf("eth0"))
			cluster := filepath.Join(n.ConfDir, where)
			if name == "name" {
				cluster = where
			}
			n.Del(pod, n.Conf(node.Conf{"delegates": nil, "clusterNetwork": cluster}))
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}

// multusDirs are the cniDir of a Multus that was there before: ours, and its own.
func multusDirs(n *node.Node) map[string]string {
	return map[string]string{"our folder": n.CNIDir, "its own folder": "/var/lib/cni/multus"}
}

// multusConf is a configuration of Multus, without a kubeconfig: delegates only.
func multusConf(n *node.Node, dir string) node.Conf {
	tuning := node.Conf{"type": "tuning", "mtu": 1400}
	return node.Conf{
		"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus", "cniDir": dir, "binDir": n.CNIBin, "confDir": n.ConfDir,
		"delegates": []node.Conf{
			node.ClusterBridge(),
			node.List("two", "1.0.0", node.Bridge("br2", "10.3.0.0/16"), tuning),
			node.Macvlan("mac", "up0", "10.2.0.0/16"),
			node.List("four", "0.4.0", node.Macvlan("mac4", "up0", "10.5.0.0/16")),
		},
	}
}

func TestNetnsDelOfAPodThatMultusAttached(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			dir := multusDirs(n)[name]
			multus := node.Executable(t, "PLEXUS_MULTUS_BIN", "multus")
			pod, other := n.Sandbox("c1"), n.Sandbox("c2")
			for _, s := range []*node.Sandbox{pod, other} {
				n.Call(node.Call{Plugin: multus, Command: "ADD", Config: multusConf(n, dir), Sandbox: s}).OK()
				check.Equal(t, "interfaces", s.InterfaceNames(), []string{"eth0", "net1", "net2", "net3"})
			}
			theirs := other.Interfaces()
			files := slices.DeleteFunc(n.Leftovers(), func(path string) bool { return !isOf(n, path, "c2") })
			conf := n.Conf(node.Conf{"delegates": []node.Conf{node.Bridge("unrelated", "10.99.0.0/16")}})
			n.Del(pod, conf)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "files", n.Leftovers(), files)
			if !slices.Contains(files, filepath.Join(dir, "c2")) {
				t.Errorf("Multus has no scratch file of the other pod: %v", files)
			}
			check.Equal(t, "interfaces of the other pod", other.Interfaces(), theirs)
			n.Del(other, conf)
			n.MustBeClean()
		})
	}
}

// isOf tells whether a file is a container's: by its name, or for a reservation of
// host-local by its content.
func isOf(n *node.Node, path, containerID string) bool {
	switch base, folder := filepath.Base(path), filepath.Dir(path); {
	case base == containerID:
		return true
	case filepath.Base(folder) == "results":
		return strings.Contains(base, "-"+containerID+"-")
	case filepath.Base(filepath.Dir(folder)) == "networks":
		return strings.Contains(n.ReadFile(path), containerID)
	}
	return false
}

// The pod that Multus attached has lost its namespace by the time of the DEL.
func TestNetnsDelOfAPodThatMultusAttachedAndThatIsGone(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	multus := node.Executable(t, "PLEXUS_MULTUS_BIN", "multus")
	pod := n.Sandbox("c1")
	n.Call(node.Call{Plugin: multus, Command: "ADD", Config: multusConf(n, "/var/lib/cni/multus"), Sandbox: pod}).OK()
	pod.Destroy()
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// A DEL that fails leaves Multus's file where it is, and the next one finishes.
func TestNetnsDelOfAPodThatMultusAttachedFailsOnce(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("bridge", "macvlan")
	multus := node.Executable(t, "PLEXUS_MULTUS_BIN", "multus")
	pod := n.Sandbox("c1")
	n.Call(node.Call{Plugin: multus, Command: "ADD", Config: multusConf(n, n.CNIDir), Sandbox: pod}).OK()
	n.Hook("macvlan", "DEL", `[ "$CNI_IFNAME" != net2 ] || fail 77 'not now'`)
	failure := call(n, "DEL", pod, n.Conf(nil)).Fails(77)
	check.Contains(t, "error", failure.Msg, "default/c1", "mac", "not now")
	check.Equal(t, "calls", n.CallNames(), []string{"DEL macvlan net3", "DEL macvlan net2", "DEL bridge net1", "DEL bridge eth0"})
	if n.ReadFile(filepath.Join(n.CNIDir, "c1")) == "" {
		t.Error("the scratch file is empty")
	}
	n.Hook("macvlan", "DEL", "")
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// scratch writes Multus's file of a sandbox, as its code does.
func scratch(t *testing.T, n *node.Node, dir string, delegates []node.Conf) string {
	t.Helper()
	data, err := json.Marshal(delegates)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "c1")
	n.WriteFile(path, string(data))
	return path
}

// fromConflist is an element of Multus's file for a list that it read from a file:
// Bytes has lost the plugins' own keys.
func fromConflist(list node.Conf) node.Conf {
	plugins, poor := []node.Conf{}, []node.Conf{}
	for _, plugin := range list["plugins"].([]node.Conf) {
		plugins = append(plugins, node.Conf{
			"Network": node.Conf{"type": plugin["type"], "ipam": node.Conf{}, "dns": node.Conf{}},
			"Bytes":   base64.StdEncoding.EncodeToString([]byte(plugin.String())),
		})
		poor = append(poor, node.Conf{"type": plugin["type"], "ipam": node.Conf{}, "dns": node.Conf{}})
	}
	lossy := node.Conf{"name": list["name"], "cniVersion": list["cniVersion"], "plugins": poor}
	return node.Conf{
		"Conf": node.Conf{"dns": node.Conf{}, "ipam": node.Conf{}}, "ConfList": lossy, "Name": list["name"],
		"CNINetworkConfigList": node.Conf{
			"Name": list["name"], "CNIVersion": list["cniVersion"], "DisableCheck": false, "Plugins": plugins,
			"Bytes": base64.StdEncoding.EncodeToString([]byte(list.String())),
		},
		"Bytes": base64.StdEncoding.EncodeToString([]byte(lossy.String())),
	}
}

// fromNetwork is an element of Multus's file for a NetworkAttachmentDefinition.
func fromNetwork(name, ifName string, config node.Conf) node.Conf {
	return node.Conf{
		"Name": name, "ifnameRequest": ifName, "CNINetworkConfigList": node.Conf{"Plugins": nil},
		"Bytes": base64.StdEncoding.EncodeToString([]byte(config.String())),
	}
}

func TestNetnsDelByMultusStateOfAConflistAndOfADefinition(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			n.Wrap("bridge", "macvlan", "portmap")
			pod := n.Sandbox("c1")
			dir := multusDirs(n)[name]
			master := node.List("cbr0", "0.4.0", node.ClusterBridge(), node.Conf{"type": "portmap", "capabilities": node.Conf{"portMappings": true}})
			mac := node.Macvlan("mac", "up0", "10.2.0.0/16")
			rt := pod.RuntimeConf("eth0")
			rt.CapabilityArgs = map[string]any{"portMappings": mappings}
			attachBare(t, n, master, dir, rt)
			attachBare(t, n, node.List("mac", "1.0.0", mac), dir, pod.RuntimeConf("data"))
			scratch(t, n, dir, []node.Conf{fromConflist(master), fromNetwork("default/mac", "data", mac)})
			n.Calls()
			n.Del(pod, n.Conf(node.Conf{"delegates": []node.Conf{node.Bridge("unrelated", "10.99.0.0/16")}}))
			calls := n.Calls()
			got := []string{}
			for _, c := range calls {
				got = append(got, c.String())
				if c.Config["prevResult"] == nil {
					t.Errorf("%s has no prevResult", c)
				}
			}
			check.Equal(t, "calls", got, []string{"DEL macvlan data", "DEL portmap eth0", "DEL bridge eth0"})
			check.Equal(t, "port mappings", portMappings(t, calls[1]), mappings)
			check.Equal(t, "bridge of the DEL", string(calls[2].Config["bridge"]), `"cbr0"`)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}

// A scratch file that cannot be read is left where it is, and what Multus's libcni has
// cached is released.
func TestNetnsDelWithATruncatedMultusState(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			dir := multusDirs(n)[name]
			multus := node.Executable(t, "PLEXUS_MULTUS_BIN", "multus")
			pod := n.Sandbox("c1")
			n.Call(node.Call{Plugin: multus, Command: "ADD", Config: multusConf(n, dir), Sandbox: pod}).OK()
			path := filepath.Join(dir, "c1")
			whole := n.ReadFile(path)
			n.Do(func() error { return os.Truncate(path, int64(len(whole)/2)) })
			n.Del(pod, n.Conf(nil))
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
			check.Equal(t, "files", n.Leftovers(), []string{path})
			check.Equal(t, "the file of Multus", n.ReadFile(path), whole[:len(whole)/2])
		})
	}
}

// A file of Multus that names nothing says nothing of the sandbox.
func TestNetnsDelWithAnEmptyMultusState(t *testing.T) {
	for _, content := range []string{"null", "[]", "[null]", "[{}]"} {
		t.Run(content, func(t *testing.T) {
			n := node.New(t)
			pod := n.Sandbox("c1")
			attachBare(t, n, node.List("cbr0", "1.0.0", node.ClusterBridge()), libcni.CacheDir, pod.RuntimeConf("eth0"))
			state := "/var/lib/cni/multus/c1"
			n.WriteFile(state, content)
			n.Del(pod, n.Conf(nil))
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "files", n.Leftovers(), []string{state})
			check.Equal(t, "the file of Multus", n.ReadFile(state), content)
		})
	}
}
