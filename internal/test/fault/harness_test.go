// Package fault kills, hangs and fails everything that can be, and sees to it that
// nothing stays behind. It drives a build of plexus that can be told to die at each
// write of its journal (tag killpoints), with a plugin that does what it is told.
package fault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// binaries is the folder of plexus, plexus-once and the fake plugin.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Getuid() != 0 {
			return m.Run() // the tests say that they need root
		}
		dir, err := os.MkdirTemp("", "plexus-faulttest-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		build("fake", "./fakeplugin")
		build("plexus", "../../../cmd/plexus")
		build("plexus-once", "../../../cmd/plexus-once")
		return m.Run()
	}())
}

func build(name, pkg string) {
	cmd := exec.Command("go", "build", "-tags", "killpoints", "-o", filepath.Join(binaries, name), pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build %s: %v\n%s", pkg, err, out))
	}
}

// machine is a node on which plexus runs with the fake plugin for each network: "master",
// "a", "b".
type machine struct {
	*node.Node
	t         *testing.T
	resources string // what the fake plugins hold
	// do are the steps of the fake plugin of each network.
	do map[string]map[string][]string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	n := node.NewFrom(t, node.Options{Bin: binaries, CNIBin: binaries})
	m := &machine{Node: n, t: t, resources: n.Path("resources"), do: map[string]map[string][]string{}}
	check.Must(t, os.Mkdir(m.resources, 0o700))
	return m
}

// network gives the configuration of a fake network.
func (m *machine) network(name string) node.Conf {
	return node.Conf{"cniVersion": "1.0.0", "name": name, "type": "fake", "resources": m.resources, "do": m.do[name]}
}

// config is plexus's own. Calls other than ADD get no source of facts that answers:
// they must not need one.
func (m *machine) config(command string) node.Conf {
	more := node.Conf{
		"binDir": binaries, "agentSocket": m.Path("nobody.sock"), "kubeconfig": m.Path("no.kubeconfig"), "delegateTimeout": "1s",
		"delegates": []node.Conf{m.network("master")},
	}
	if command != "ADD" {
		more["manifests"] = nil
	}
	return m.Conf(more)
}

// call is one call of plexus, as a runtime makes it.
type call struct {
	command string
	sandbox *node.Sandbox
	killAt  int // number of the kill point, 0 for none
}

// pod makes the sandbox of a pod that asks for networks a and b.
func (m *machine) pod(container string) *node.Sandbox {
	m.t.Helper()
	s := m.Sandbox(container)
	s.PodName = "web"
	return s
}

// outcome is what became of a call.
type outcome struct {
	ok     bool
	killed bool
	msg    string // of the CNI error
}

func (m *machine) run(c call) outcome {
	m.t.Helper()
	m.PodWith("web", "a,b")
	for _, name := range []string{"a", "b"} {
		m.Network(name, m.network(name))
	}
	o := m.Call(node.Call{
		Command: c.command, Config: m.config(c.command), Sandbox: c.sandbox, Env: []string{fmt.Sprintf("PLEXUS_KILL_AT=%d", c.killAt)},
	})
	out := outcome{ok: o.Err == nil, killed: o.ExitCode == -1}
	if o.Err != nil {
		out.msg = o.Err.Msg
	}
	return out
}

func (m *machine) mustRun(c call) {
	m.t.Helper()
	if out := m.run(c); !out.ok {
		m.t.Fatalf("%s of %s: %s (killed: %v)", c.command, c.sandbox.ID, out.msg, out.killed)
	}
}

// held gives the resources that the plugins still hold.
func (m *machine) held() []string {
	m.t.Helper()
	entries, err := os.ReadDir(m.resources)
	check.Must(m.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mustBeClean fails the test if a resource is held or a file of plexus is left.
func (m *machine) mustBeClean(when string) {
	m.t.Helper()
	if held := m.held(); len(held) > 0 {
		m.t.Errorf("%s: not released: %v", when, held)
	}
	if files := m.Leftovers(); len(files) > 0 {
		m.t.Errorf("%s: files left: %v", when, files)
	}
}
