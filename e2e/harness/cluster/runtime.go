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
	Name string
	// dir is the folder of its executables; where it is empty, that of e2e/tools cluster.
	dir    string
	config string
}

// Containerd is containerd 2, built from its module.
var Containerd = Runtime{Name: "containerd 2", config: `version = 3
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "` + pauseImage + `"
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    max_conf_num = 1
`}

// DebianContainerd is Debian's, of 2023: it knows CNI 1.0.0, no STATUS.
var DebianContainerd = Runtime{Name: "Debian's containerd", dir: "/usr/bin", config: `version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
    max_conf_num = 1
`}

const criSocket = "/run/containerd/containerd.sock"

// runtimeExecutable is one of the runtime's own executables.
func (n *Node) runtimeExecutable(name string) string {
	if n.runtime.dir != "" {
		return filepath.Join(n.runtime.dir, name)
	}
	return n.executable(name)
}

// executable is one of those that every node has.
func (n *Node) executable(name string) string { return filepath.Join(n.cluster.bins.cluster, name) }

// StartContainerd starts the node's runtime and waits until it answers.
func (n *Node) StartContainerd(ctx context.Context) error {
	if err := n.WriteFile("/etc/containerd/config.toml", n.runtime.config); err != nil {
		return err
	}
	path := "PATH=" + filepath.Dir(n.runtimeExecutable("containerd")) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	var err error
	if n.containerd, err = n.startDaemon("containerd", []string{path}, n.runtimeExecutable("containerd"), "--config", "/etc/containerd/config.toml"); err != nil {
		return err
	}
	return await(ctx, "containerd of "+n.Name, func(context.Context) error {
		if err := n.containerd.ExitError(); err != nil {
			return poll.Stop(err)
		}
		_, err := n.CRI("version")
		return err
	})
}

// KillContainerd kills the runtime. Its containers go on.
func (n *Node) KillContainerd() { n.containerd.Kill() }

// CRI runs crictl on the node and gives what it prints.
func (n *Node) CRI(args ...string) (string, error) {
	return n.Run(n.executable("crictl"), append([]string{"--runtime-endpoint", "unix://" + criSocket, "--image-endpoint", "unix://" + criSocket, "--timeout", "2m"}, args...)...)
}

func (n *Node) importImages(context.Context) error {
	files, err := n.cluster.images.base()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := n.importImage(file); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) importImage(file string) error {
	_, err := n.Run(n.runtimeExecutable("ctr"), "--address", criSocket, "--namespace", "k8s.io", "images", "import", file)
	return err
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
	log, err := os.ReadFile(n.Log("containerd"))
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
