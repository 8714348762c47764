package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Runtime is the container runtime of a node.
type Runtime struct {
	Name   string
	server string // the name of its server, and of its log
	socket string
	// needs is the variable that names the folder of its executables; where it is empty, they are in dir.
	needs, dir string
	// files are the node's files that configure it. executables are those among them that are run.
	files       map[string]string
	executables []string
	arguments   []string
	// load brings the image in a file to the node.
	load func(n *Node, file string) error
	// used gives an error unless the runtime says that it uses the network of that name.
	used func(n *Node, network string) error
	// read waits until the runtime has read the configuration of Plexus as it is.
	read func(ctx context.Context, n *Node) error
}

// runtimeExecutable is one of the runtime's own executables.
func (n *Node) runtimeExecutable(name string) string {
	if n.runtime.needs != "" {
		return filepath.Join(os.Getenv(n.runtime.needs), name)
	}
	return filepath.Join(n.runtime.dir, name)
}

// executable is one of those that every node has.
func (n *Node) executable(name string) string { return filepath.Join(n.cluster.bins.cluster, name) }

// StartRuntime starts the node's runtime and waits until it answers.
func (n *Node) StartRuntime(ctx context.Context) error {
	if err := n.configureRuntime(); err != nil {
		return err
	}
	server := n.runtimeExecutable(n.runtime.server)
	path := "PATH=" + filepath.Dir(server) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	var err error
	if n.server, err = n.startDaemon(n.runtime.server, []string{path}, append([]string{server}, n.runtime.arguments...)...); err != nil {
		return err
	}
	return await(ctx, n.runtime.Name+" of "+n.Name, func(context.Context) error {
		if err := n.server.ExitError(); err != nil {
			return poll.Stop(err)
		}
		_, err := n.CRI("version")
		return err
	})
}

// configureRuntime writes the files that the runtime is configured by.
func (n *Node) configureRuntime() error {
	for path, text := range n.runtime.files {
		if err := n.WriteFile(path, text); err != nil {
			return err
		}
	}
	for _, path := range n.runtime.executables {
		if err := n.Do(func() error { return os.Chmod(path, 0o755) }); err != nil {
			return err
		}
	}
	return nil
}

// KillRuntime kills the runtime. Its containers go on.
func (n *Node) KillRuntime() { n.server.Kill() }

// RestartRuntime stops the runtime and starts it again. Its containers go on.
func (n *Node) RestartRuntime(ctx context.Context) error {
	n.server.Stop()
	return n.StartRuntime(ctx)
}

// CRI runs crictl on the node and gives what it prints.
func (n *Node) CRI(args ...string) (string, error) {
	socket := "unix://" + n.runtime.socket
	return n.Run(n.executable("crictl"), append([]string{"--runtime-endpoint", socket, "--image-endpoint", socket, "--timeout", "2m"}, args...)...)
}

func (n *Node) importImages(context.Context) error {
	files, err := n.cluster.images.base()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := n.runtime.load(n, file); err != nil {
			return err
		}
	}
	return nil
}

// Sandbox is a pod's sandbox as the runtime knows it.
type Sandbox struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Metadata struct {
		Name, Namespace, UID string
		Attempt              int
	} `json:"metadata"`
	NetNS string `json:"-"` // its path on the node, where it was asked for
}

// Ready says whether the sandbox runs.
func (s Sandbox) Ready() bool { return s.State == "SANDBOX_READY" }

// Sandboxes gives the sandboxes of a namespace's pods on the node, of every state; of all
// namespaces if it is empty.
func (n *Node) Sandboxes(namespace string) ([]Sandbox, error) {
	out, err := n.CRI("pods", "--output", "json")
	if err != nil {
		return nil, err
	}
	var all struct{ Items []Sandbox }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read what crictl says of sandboxes: %w", err)
	}
	var found []Sandbox
	for _, s := range all.Items {
		if namespace == "" || s.Metadata.Namespace == namespace {
			found = append(found, s)
		}
	}
	return found, nil
}

// netnsOf gives the path, on the node, of a sandbox's network namespace.
func (n *Node) netnsOf(id string) (string, error) {
	out, err := n.CRI("inspectp", "--output", "json", id)
	if err != nil {
		return "", err
	}
	var inspected struct {
		Info struct {
			RuntimeSpec struct {
				Linux struct {
					Namespaces []struct{ Type, Path string }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &inspected); err != nil {
		return "", fmt.Errorf("read what crictl says of sandbox %s: %w", id, err)
	}
	for _, namespace := range inspected.Info.RuntimeSpec.Linux.Namespaces {
		if namespace.Type == "network" && namespace.Path != "" {
			return namespace.Path, nil
		}
	}
	return "", fmt.Errorf("sandbox %s has no network namespace", id)
}

// FailedSandboxes counts the sandboxes whose making the runtime has logged as failed.
func (n *Node) FailedSandboxes() (int, error) {
	log, err := os.ReadFile(n.Log(n.runtime.server))
	if err != nil {
		return 0, err
	}
	failed := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "level=error") && strings.Contains(line, "RunPodSandbox for") && strings.Contains(line, "failed") {
			failed++
		}
	}
	return failed, nil
}

// copyPlugins puts the reference plugins where runtimes look for them.
func (n *Node) copyPlugins() error {
	plugins, err := filepath.Glob(filepath.Join(n.cluster.bins.plugins, "*"))
	if err != nil {
		return err
	}
	return n.InstallPlugins(plugins...)
}

// InstallPlugins puts executables into the node's folder of plugins.
func (n *Node) InstallPlugins(paths ...string) error {
	return n.Do(func() error {
		for _, path := range paths {
			target := "/opt/cni/bin/" + filepath.Base(path)
			if err := copyFile(path, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// copyFile makes a copy that is whole or not there: a link, if the disk is the same.
func copyFile(from, to string) error {
	resolved, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if os.Link(resolved, to) == nil {
		return nil
	}
	data, err := os.ReadFile(resolved)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".new", data, 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}
