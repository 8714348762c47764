// Package fault kills, hangs and fails everything that can be, and sees to it that
// nothing stays behind. It drives a build of plexus that can be told to die at each
// write of its journal (tag killpoints), with a plugin that does what it is told.
package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
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

// node is a machine on which plexus runs: its folders, and the networks of its pods.
type node struct {
	t         *testing.T
	dir       string
	resources string // what the fake plugins hold
	manifests string
	// do are the steps of the fake plugin of each network: "master", "a", "b".
	do map[string]map[string][]string
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces (make test-netns)")
	}
	n := &node{t: t, dir: t.TempDir(), do: map[string]map[string][]string{}}
	n.resources = filepath.Join(n.dir, "resources")
	n.manifests = filepath.Join(n.dir, "manifests")
	for _, dir := range []string{n.resources, n.manifests} {
		check.Must(t, os.Mkdir(dir, 0o700))
	}
	return n
}

// network gives the configuration of a fake network.
func (n *node) network(name string) map[string]any {
	return map[string]any{"cniVersion": "1.0.0", "name": name, "type": "fake", "resources": n.resources, "do": n.do[name]}
}

// writeManifests writes the pod, which asks for networks a and b, and the networks.
func (n *node) writeManifests() {
	n.t.Helper()
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
		"name": "web", "namespace": "default", "annotations": map[string]string{"k8s.v1.cni.cncf.io/networks": "a,b"},
	}}
	n.writeJSON(filepath.Join(n.manifests, "pod.json"), pod)
	for _, name := range []string{"a", "b"} {
		config, err := json.Marshal(n.network(name))
		check.Must(n.t, err)
		n.writeJSON(filepath.Join(n.manifests, name+".json"), map[string]any{
			"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
			"metadata": map[string]any{"name": name, "namespace": "default"},
			"spec":     map[string]any{"config": string(config)},
		})
	}
}

func (n *node) writeJSON(path string, value any) {
	n.t.Helper()
	data, err := json.Marshal(value)
	check.Must(n.t, err)
	check.Must(n.t, os.WriteFile(path, data, 0o600))
}

// config is plexus's own. Calls other than ADD get no source of facts that answers:
// they must not need one.
func (n *node) config(command string) []byte {
	n.t.Helper()
	config := map[string]any{
		"cniVersion": "1.0.0", "name": "plexus-net", "type": "plexus", "binDir": binaries,
		"cniDir": filepath.Join(n.dir, "cni"), "agentSocket": filepath.Join(n.dir, "nobody.sock"),
		"kubeconfig": filepath.Join(n.dir, "no.kubeconfig"), "delegateTimeout": "1s",
		"delegates": []any{n.network("master")},
	}
	if command == "ADD" {
		config["manifests"] = n.manifests
	}
	data, err := json.Marshal(config)
	check.Must(n.t, err)
	return data
}

// call is one call of plexus, as a runtime makes it.
type call struct {
	command   string
	container string
	netns     string
	killAt    int // number of the kill point, 0 for none
}

// outcome is what became of a call.
type outcome struct {
	ok     bool
	killed bool
	msg    string // of the CNI error
}

func (n *node) run(c call) outcome {
	n.t.Helper()
	n.writeManifests()
	cmd := exec.Command(filepath.Join(binaries, "plexus"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+c.command, "CNI_CONTAINERID="+c.container, "CNI_NETNS="+c.netns,
		"CNI_IFNAME=eth0", "CNI_PATH="+binaries, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
		fmt.Sprintf("PLEXUS_KILL_AT=%d", c.killAt))
	cmd.Stdin = bytes.NewReader(n.config(c.command))
	// Files, not pipes: an orphan would keep a pipe open, and us waiting.
	stdout, err := os.CreateTemp(n.dir, "stdout")
	check.Must(n.t, err)
	defer func() { _ = os.Remove(stdout.Name()) }()
	cmd.Stdout = stdout
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	out := outcome{ok: err == nil}
	if exit != nil {
		status, _ := exit.Sys().(interface{ Signaled() bool })
		out.killed = status.Signaled()
	}
	said, err := os.ReadFile(stdout.Name())
	check.Must(n.t, err)
	var failure struct {
		Msg string `json:"msg"`
	}
	_ = json.Unmarshal(said, &failure)
	out.msg = failure.Msg
	return out
}

func (n *node) mustRun(c call) {
	n.t.Helper()
	if out := n.run(c); !out.ok {
		n.t.Fatalf("%s of %s: %s (killed: %v)", c.command, c.container, out.msg, out.killed)
	}
}

// namespace makes a network namespace and gives its path; remove it with dropNamespace.
func (n *node) namespace(name string) string {
	n.t.Helper()
	path := filepath.Join(n.dir, "netns-"+name)
	check.Must(n.t, os.WriteFile(path, nil, 0o600))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	check.Must(n.t, <-done)
	n.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// dropNamespace ends a namespace as a runtime does: the file stays, empty, as after a
// power cut, or goes.
func (n *node) dropNamespace(path string, keepFile bool) {
	n.t.Helper()
	check.Must(n.t, unix.Unmount(path, unix.MNT_DETACH))
	if !keepFile {
		check.Must(n.t, os.Remove(path))
	}
}

// held gives the resources that the plugins still hold.
func (n *node) held() []string {
	n.t.Helper()
	entries, err := os.ReadDir(n.resources)
	check.Must(n.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mustBeClean fails the test if a resource is held or a file of plexus is left.
func (n *node) mustBeClean(when string) {
	n.t.Helper()
	if held := n.held(); len(held) > 0 {
		n.t.Errorf("%s: not released: %v", when, held)
	}
	if files := n.files(); len(files) > 0 {
		n.t.Errorf("%s: files left: %v", when, files)
	}
}

// files gives the files under cniDir, less the locks.
func (n *node) files() []string {
	var files []string
	_ = filepath.WalkDir(filepath.Join(n.dir, "cni"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") {
			files = append(files, path)
		}
		return nil
	})
	return files
}
