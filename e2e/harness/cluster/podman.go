package cluster

// Podman is Debian's podman 4.3 with its CNI backend, for a [Machine]: it has no server.
var Podman = Runtime{
	Name:        "podman",
	files:       sharedFiles(map[string]string{"/etc/containers/containers.conf": podmanText}),
	executables: []string{privateRunc},
	load:        loadByPodman,
}

const podmanText = `[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
runtime = "here"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
here = ["` + privateRunc + `"]
`

// RunContainer starts a container of podman that waits, on these networks.
func (n *Node) RunContainer(name, networks string) error {
	_, err := n.Run("podman", "run", "--detach", "--name", name, "--network", networks, "--cgroup-parent", "/"+cgroupOf(n.Name), BusyboxImage)
	return err
}
