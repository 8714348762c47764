package vhostuser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// podDir is where pods mount their folder.
const podDir = "/run/vhostuser"

// lab is a node with a switch.
type lab struct {
	*node.Node
	t      *testing.T
	ovs    *ovs
	plugin string // the folder of plexus-vhostuser, that of the build if empty
}

func newLab(t *testing.T) *lab {
	t.Helper()
	n := node.New(t)
	return &lab{Node: n, t: t, ovs: newOVS(t, n)}
}

// socketDir is short: a socket's path in it must not be longer than the kernel takes.
func (l *lab) socketDir() string { return l.Path("s") }

func (l *lab) stateDir() string { return l.Path("state") }

// network gives the configuration of a vhost-user network.
func (l *lab) network(more node.Conf) node.Conf {
	return node.Conf{
		"cniVersion": "1.1.0", "name": "fast", "type": "plexus-vhostuser", "bridge": bridge, "ovsdb": l.ovs.address(),
		"socketDir": l.socketDir(), "podDir": podDir, "stateDir": l.stateDir(), "uid": 1000, "gid": 1000,
		"capabilities": node.Conf{"CNIDeviceInfoFile": true}, "ipam": node.HostLocal("10.9.0.0/16"),
	}.With(more)
}

// pod is a pod with the bridge of the cluster as its default network.
type pod struct {
	*lab
	node    *node.Node
	sandbox *node.Sandbox
	uid     string
}

// pod makes a pod that asks for networks.
func (l *lab) pod(name, networks string) *pod {
	l.t.Helper()
	l.PodWith(name, networks)
	return &pod{lab: l, node: l.Node, sandbox: l.Sandbox(name), uid: "uid-of-" + name}
}

// folder gives what the pod mounts: the kubelet finds it by the pod's UID.
func (p *pod) folder() string { return filepath.Join(p.socketDir(), p.uid) }

// call has plexus called as a runtime does it.
func (p *pod) call(command string, config node.Conf, env ...string) *node.Outcome {
	p.t.Helper()
	args := p.sandbox.Args() + ";K8S_POD_UID=" + p.uid
	return p.Call(node.Call{Command: command, Config: config, Sandbox: p.sandbox, Args: &args, CNIPath: p.path(), Env: env})
}

func (l *lab) path() string {
	path := l.CNIBin + ":" + l.Bin
	if l.plugin != "" {
		path = l.plugin + ":" + path
	}
	return path
}

func (p *pod) add() *node.Outcome {
	p.t.Helper()
	return p.call("ADD", p.Conf(nil)).OK()
}

func (p *pod) del() {
	p.t.Helper()
	p.call("DEL", p.Conf(nil)).OK()
}

// status gives the pod's network status, as the journal has it.
func (p *pod) status() []types.NetworkStatus {
	p.t.Helper()
	return p.Record(p.sandbox).Status
}

// left gives all that is left of vhost-user attachments on the node, and of plexus.
func (l *lab) left() []string {
	l.t.Helper()
	left := l.Leftovers()
	for _, port := range l.ovs.ports() {
		left = append(left, "port "+port)
	}
	for _, dir := range []string{l.stateDir(), l.socketDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left
}

func (l *lab) mustBeClean(when string) {
	l.t.Helper()
	if left := l.left(); len(left) > 0 {
		l.t.Errorf("%s: left: %q", when, left)
	}
}
