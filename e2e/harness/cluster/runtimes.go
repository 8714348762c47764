package cluster

import (
	"context"
	"errors"
	"strings"
)

// Containerd is containerd 2, built from its module.
var Containerd = containerd(Runtime{Name: "containerd 2", needs: clusterBinVar, files: map[string]string{containerdConfig: `version = 3
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
`}})

// DebianContainerd is Debian's, of 2023: it knows CNI 1.0.0, no STATUS.
var DebianContainerd = containerd(Runtime{Name: "Debian's containerd", dir: "/usr/bin", files: map[string]string{containerdConfig: `version = 2
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
`}})

const (
	containerdConfig = "/etc/containerd/config.toml"
	containerdSocket = "/run/containerd/containerd.sock"
)

// containerd has what is the same for every version.
func containerd(r Runtime) Runtime {
	r.server, r.socket, r.arguments = "containerd", containerdSocket, []string{"--config", containerdConfig}
	r.load = func(n *Node, file string) error {
		_, err := n.Run(n.runtimeExecutable("ctr"), "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", file)
		return err
	}
	r.used = func(n *Node, network string) error { return n.infoHas(`"Name": "` + network + `"`) }
	r.read = readByContainerd
	return r
}

// readByContainerd waits for the file as a text in containerd's information.
func readByContainerd(ctx context.Context, n *Node) error {
	return await(ctx, "the runtime of "+n.Name+" to read "+ConfFile, func(context.Context) error {
		text, err := n.ReadFile(ConfFile)
		if err != nil {
			return err
		}
		return n.infoHas(JSON(text))
	})
}

// infoHas gives an error unless the runtime's information has a text.
func (n *Node) infoHas(text string) error {
	info, err := n.CRI("info")
	if err == nil && !strings.Contains(info, text) {
		err = errors.New("it has another, or none")
	}
	return err
}
