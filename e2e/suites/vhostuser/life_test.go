package vhostuser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// What was asked for is what Open vSwitch has, and CHECK sees when it is not.
func TestE2EVhostUserPort(t *testing.T) {
	l := newLab(t)
	l.Network("fast", l.network(node.Conf{
		"vlan": 7, "trunk": []node.Conf{{"minID": 10, "maxID": 12}, {"id": 20}}, "mtu": 2000, "queues": 2,
	}))
	p := l.pod("a", "fast")
	before := syscall.Umask(0o077) // of a runtime that is careful
	p.add()
	syscall.Umask(before)
	info, err := os.Stat(p.folder())
	check.Must(t, err)
	check.Equal(t, "mode of what the pod mounts", info.Mode().Perm(), os.FileMode(0o755))
	port := l.ovs.portOf("a", "net0")
	check.Equal(t, "port", l.ovs.vsctl("--bare", "--columns=tag,trunks,vlan_mode", "list", "Port", port), "7\n10 11 12 20\nnative-untagged")
	check.Equal(t, "interface", l.ovs.vsctl("--bare", "--columns=type,mtu_request,options", "list", "Interface", port),
		"dpdkvhostuserclient\n2000\nn_rxq=2 vhost-server-path="+filepath.Join(p.folder(), "net0", "vhost.sock"))
	check.Equal(t, "pod", l.ovs.vsctl("get", "Port", port, "external_ids:plexus-pod"), `"default/a"`)
	p.call("CHECK", p.Conf(nil)).OK()
	check.Must(t, os.Remove(filepath.Join(p.folder(), "net0", "config.json")))
	l.ovs.vsctl("set", "Interface", port, "options:vhost-server-path=/elsewhere")
	check.Contains(t, "text", p.call("CHECK", p.Conf(nil)).Fails(100).Msg, "configuration file", "its socket is /elsewhere")
	l.ovs.vsctl("del-port", port)
	check.Contains(t, "text", p.call("CHECK", p.Conf(nil)).Fails(100).Msg, "no such port")
	p.del()
	l.mustBeClean("after DEL")
	p.del()
}

// Every version of CNI, as a runtime that calls the plugin itself.
func TestE2EVhostUserVersions(t *testing.T) {
	l := newLab(t)
	for _, version := range types.AllCNIVersions() {
		t.Run(version, func(t *testing.T) {
			p := &pod{lab: l, node: l.Node, sandbox: l.Sandbox("v" + strings.ReplaceAll(version, ".", "")), uid: "u"}
			conf := l.network(node.Conf{"cniVersion": version})
			added := p.direct("ADD", conf).OK()
			check.Equal(t, "version of the result", added.Version, version)
			check.Equal(t, "addresses", len(added.Result.IPs), 1)
			if version >= "0.4.0" {
				p.direct("CHECK", conf.With(node.Conf{"prevResult": rawJSON(added.Stdout)})).OK()
			}
			if version == "1.1.0" {
				check.Equal(t, "socket of the result", added.Result.Interfaces[0].SocketPath, filepath.Join(l.socketDir(), "u", "net0", "vhost.sock"))
				p.direct("STATUS", conf).OK()
				p.direct("GC", conf.With(node.Conf{"cni.dev/valid-attachments": []any{}})).OK()
				check.Equal(t, "ports after GC", l.ovs.ports(), []string{})
			}
			p.direct("DEL", conf).OK()
			p.direct("DEL", conf).OK()
			l.mustBeClean("after DEL")
		})
	}
	check.Equal(t, "VERSION", l.Call(node.Call{Command: "VERSION", Plugin: filepath.Join(l.Bin, "plexus-vhostuser"), Config: node.Conf{"cniVersion": "1.1.0"}}).OK().Version, "1.1.0")
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// direct calls the plugin itself.
func (p *pod) direct(command string, conf node.Conf, env ...string) *node.Outcome {
	p.t.Helper()
	args := p.sandbox.Args() + ";K8S_POD_UID=" + p.uid
	plugin := filepath.Join(p.Bin, "plexus-vhostuser")
	return p.Call(node.Call{Command: command, Config: conf, Sandbox: p.sandbox, IfName: "net0", Args: &args, Plugin: plugin, Env: env})
}

// With Open vSwitch down DEL is no success, and keeps what it needs: a later call for
// another pod, when it is up and the namespace is gone, releases it.
func TestE2EVhostUserDelWithTheSwitchDown(t *testing.T) {
	l := newLab(t)
	l.Network("fast", l.network(nil))
	a, b := l.pod("a", "fast"), l.pod("b", "fast")
	a.add()
	l.ovs.stopDatabase()
	check.Contains(t, "text", a.call("DEL", a.Conf(nil)).Fails(11).Msg, "default/a", "default/fast", "plexus-vhostuser (DEL)", "does not answer")
	check.Equal(t, "records", l.Records(), []string{"a@cluster@eth0.jsonl"})
	l.ovs.startDatabase()
	check.Equal(t, "ports before the next call", len(l.ovs.ports()), 1)
	a.sandbox.Destroy()
	b.add()
	check.Equal(t, "records", l.Records(), []string{"b@cluster@eth0.jsonl"})
	check.Equal(t, "ports", l.ovs.ports(), []string{l.ovs.portOf("b", "net0")})
	b.del()
	l.mustBeClean("after DEL")
}

// GC knows its own ports by what is written beside them, also without its state.
func TestE2EVhostUserGC(t *testing.T) {
	l := newLab(t)
	conf := l.network(nil)
	pods := []*pod{}
	for _, id := range []string{"a", "b", "c"} {
		p := &pod{lab: l, node: l.Node, sandbox: l.Sandbox(id), uid: "uid-" + id}
		p.direct("ADD", conf).OK()
		pods = append(pods, p)
	}
	other := conf.With(node.Conf{"name": "other"})
	foreign := &pod{lab: l, node: l.Node, sandbox: l.Sandbox("d"), uid: "uid-d"}
	foreign.direct("ADD", other).OK()
	l.ovs.vsctl("add-port", bridge, "theirs", "--", "set", "Interface", "theirs", "type=dpdkvhostuserclient", "options:vhost-server-path=/none")
	check.Must(t, os.Remove(filepath.Join(l.stateDir(), l.ovs.portOf("c", "net0")+".json")))
	want := []string{l.ovs.portOf("a", "net0"), l.ovs.portOf("d", "net0"), "theirs"}
	slices.Sort(want)
	pods[0].direct("GC", conf.With(node.Conf{"cni.dev/valid-attachments": []node.Conf{{"containerID": "a", "ifname": "net0"}}})).OK()
	check.Equal(t, "ports", l.ovs.ports(), want)
	pods[0].direct("DEL", conf).OK()
	foreign.direct("DEL", other).OK()
	check.Equal(t, "ports", l.ovs.ports(), []string{"theirs"})
}

// A node that has lost its state has the port still: the next ADD takes it over.
func TestE2EVhostUserAddWithItsStateLost(t *testing.T) {
	l := newLab(t)
	conf := l.network(nil)
	p := &pod{lab: l, node: l.Node, sandbox: l.Sandbox("a"), uid: "uid-a"}
	p.direct("ADD", conf).OK()
	check.Must(t, os.RemoveAll(l.stateDir()))
	p.direct("ADD", conf.With(node.Conf{"ipam": nil, "vlan": 9})).OK()
	check.Equal(t, "port", l.ovs.vsctl("get", "Port", l.ovs.portOf("a", "net0"), "tag"), "9")
	check.Must(t, os.RemoveAll(l.stateDir()))
	p.direct("DEL", conf).OK()
	check.Equal(t, "ports", l.ovs.ports(), []string{})
	check.Equal(t, "addresses", l.Reservations(), map[string][]string{})
}

// What is wrong is said, and nothing stays.
func TestE2EVhostUserRefused(t *testing.T) {
	l := newLab(t)
	l.ovs.vsctl("add-br", "br-kernel", "--", "set", "bridge", "br-kernel", "datapath_type=system")
	for name, tc := range map[string]struct {
		change node.Conf
		words  []string
	}{
		"no bridge":     {node.Conf{"bridge": "br-none"}, []string{"bridge br-none", "no such bridge"}},
		"kernel bridge": {node.Conf{"bridge": "br-kernel"}, []string{"bridge br-kernel", "datapath_type", "netdev"}},
		"not running":   {node.Conf{"ovsdb": "unix:/run/none.sock"}, []string{"/run/none.sock", "does not answer"}},
		"path too long": {node.Conf{"socketDir": "/run/" + strings.Repeat("x", 100)}, []string{"socketDir", "at most 107"}},
		"several":       {node.Conf{"vlan": 4095, "queues": "two", "bridgee": "x"}, []string{"vlan:", "queues:", "bridgee:"}},
		"MTU":           {node.Conf{"mtu": 12}, []string{"mtu:", "between"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(strings.ToLower(name), " ", "-")
			l.Network(id, l.network(nil).With(tc.change))
			p := l.pod(id, id)
			o := p.call("ADD", p.Conf(nil))
			if o.ExitCode != 1 {
				t.Fatalf("the ADD was to fail: %s", o.Stdout)
			}
			check.Contains(t, "text", o.Err.Msg, append(tc.words, "default/"+id)...)
			p.del()
			l.mustBeClean("after it")
			check.Equal(t, "addresses", l.Reservations(), map[string][]string{})
		})
	}
}

// The database answers, ovs-vswitchd does not: the ADD ends at its deadline, undone.
func TestE2EVhostUserSwitchHangs(t *testing.T) {
	l := newLab(t)
	l.Network("fast", l.network(node.Conf{"timeout": "1s"}))
	p := l.pod("a", "fast")
	check.Must(t, syscall.Kill(l.ovs.pid("ovs-vswitchd-dpdk"), syscall.SIGSTOP))
	defer func() { check.Must(t, syscall.Kill(l.ovs.pid("ovs-vswitchd-dpdk"), syscall.SIGCONT)) }()
	check.Contains(t, "text", p.call("ADD", p.Conf(nil)).Fails(11).Msg, "default/a", "ovs-vswitchd did not take up")
	l.mustBeClean("after it")
}

// The process is killed at every step of ADD and of the undo: one DEL leaves nothing.
func TestE2EVhostUserKilledAtAnyStep(t *testing.T) {
	l := newLab(t)
	l.plugin = t.TempDir()
	build := exec.Command("go", "build", "-tags", "killpoints", "-o", filepath.Join(l.plugin, "plexus-vhostuser"), "./cmd/plexus-vhostuser")
	build.Dir = "../../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l.Network("fast", l.network(nil))
	for _, command := range []string{"ADD", "DEL"} {
		for at := 1; ; at++ {
			p := l.pod(fmt.Sprintf("%s%d", strings.ToLower(command), at), "fast")
			if command == "DEL" {
				p.add()
			}
			killed := p.call(command, p.Conf(nil), fmt.Sprintf("PLEXUS_VHOSTUSER_KILL_AT=%d", at)).ExitCode != 0
			p.del()
			l.mustBeClean(fmt.Sprintf("%s killed at step %d, and DEL", command, at))
			check.Equal(t, "addresses", l.Reservations(), map[string][]string{})
			if !killed {
				t.Logf("%s has %d steps", command, at-1)
				if at < 4 {
					t.Errorf("%s has only %d steps: is this a build with killpoints?", command, at-1)
				}
				break
			}
		}
	}
}

// A configuration of the Userspace CNI plugin, moved over by its type: the socket and the
// file are where its readers look, and go with the pod.
func TestE2EVhostUserMovedFromUserspace(t *testing.T) {
	l := newLab(t)
	l.Network("moved", node.Conf{
		"cniVersion": "0.3.1", "name": "moved", "type": "plexus-vhostuser", "sharedDir": l.socketDir(), "stateDir": l.stateDir(), "ovsdb": l.ovs.address(),
		"kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig", "logFile": "/var/log/u.log", "logLevel": "debug",
		"host":      node.Conf{"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "bridge", "vhost": node.Conf{"mode": "client"}, "bridge": node.Conf{"bridgeName": bridge, "vlanId": 9}},
		"container": node.Conf{"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "interface", "vhost": node.Conf{"mode": "server"}},
		"ipam":      node.HostLocal("10.9.0.0/16"),
	})
	p := l.pod("0123456789abcdef", "moved")
	p.add()
	dir := filepath.Join(l.socketDir(), "0123456789ab")
	check.Contains(t, "text", l.ReadFile(filepath.Join(dir, "configData-0123456789ab-net0.json")), `"containerId": "0123456789abcdef"`, `"socketfile": "0123456789ab-net0"`, `"10.9.0.2/16"`)
	port := l.ovs.portOf("0123456789abcdef", "net0")
	check.Equal(t, "port", l.ovs.vsctl("--bare", "get", "Port", port, "tag", "--", "get", "Interface", port, "options:vhost-server-path"),
		"9\n\""+filepath.Join(dir, "0123456789ab-net0")+"\"")
	p.del()
	l.mustBeClean("after DEL")
}
