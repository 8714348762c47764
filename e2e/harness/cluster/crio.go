package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// CRIOBinVar names the folder of CRI-O's executables, which make e2e builds.
const CRIOBinVar = "PLEXUS_CRIO_BIN"

const (
	crioSocket = "/run/crio/crio.sock"
	crioConfig = "/etc/crio/crio.conf"
	// privateRunc is a node's runc for a machine that lacks CAP_SYS_RESOURCE and control groups for huge
	// pages: containerd has settings for that, CRI-O and podman have none.
	privateRunc = "/etc/runc-here"
)

// privateRuncScript takes from a container's specification what cannot be set here: who is killed first
// where memory ends, limits above those of this process, and limits of huge pages.
const privateRuncScript = `#!/bin/sh
previous=
for argument; do
	case $previous in --bundle | -b)
		sed -i -z 's/,\s*"oomScoreAdj":[^,}]*//; s/,\s*"\(rlimits\|hugepageLimits\)":\s*\[[^]]*\]//g' "$argument/config.json" ;;
	esac
	previous=$argument
done
exec /usr/sbin/runc "$@"
`

// sharedFiles are read by CRI-O and podman: both keep images and containers in one storage.
func sharedFiles(more map[string]string) map[string]string {
	more[privateRunc] = privateRuncScript
	more["/etc/containers/policy.json"] = `{"default": [{"type": "insecureAcceptAnything"}]}`
	more["/etc/containers/storage.conf"] = `[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`
	return more
}

// CRIO is CRI-O 1.34, built from its module, with Debian's conmon and runc.
var CRIO = Runtime{
	Name: "CRI-O", server: "crio", socket: crioSocket, needs: CRIOBinVar,
	files:       sharedFiles(map[string]string{crioConfig: crioText}),
	executables: []string{privateRunc},
	arguments:   []string{"--config", crioConfig, "--config-dir", "", "--log-level", "info"},
	load:        loadByPodman,
	used:        usedByCRIO,
	read:        readByCRIO,
}

// crioText is CRI-O's configuration. It finds pinns in its PATH.
const crioText = `[crio]
# Otherwise it removes all images after a power cut.
clean_shutdown_file = ""
[crio.api]
listen = "` + crioSocket + `"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "runc"
namespaces_dir = "/run/crio/ns"
[crio.runtime.runtimes.runc]
runtime_path = "` + privateRunc + `"
runtime_root = "/run/runc"
monitor_path = "/usr/bin/conmon"
[crio.image]
pause_image = "` + pauseImage + `"
pause_command = ""
[crio.network]
network_dir = "/etc/cni/net.d"
plugin_dirs = ["/opt/cni/bin"]
`

// loadByPodman brings an image to CRI-O: both have their images in the same storage, and CRI-O has no
// command for it. Of an image for several platforms there is a file for this one beside it.
func loadByPodman(n *Node, file string) error {
	one := strings.TrimSuffix(file, ".tar") + "-linux-" + runtime.GOARCH + ".docker.tar"
	if _, err := os.Stat(one); err == nil {
		file = one
	}
	_, err := n.Run("podman", "load", "--quiet", "--input", file)
	return err
}

// usedByCRIO reads CRI-O's log: it says nowhere else what network it uses.
func usedByCRIO(n *Node, network string) error {
	log, err := os.ReadFile(n.Log("crio"))
	if err != nil {
		return err
	}
	const says = "Updated default CNI network name to "
	at := strings.LastIndex(string(log), says)
	if at < 0 {
		return errors.New("it uses none")
	}
	name, _, _ := strings.Cut(string(log)[at+len(says):], `"`)
	if name != network {
		return fmt.Errorf("it uses %q", name)
	}
	return nil
}

// readByCRIO restarts CRI-O: it says nowhere what it has read, and it reads all when it starts.
func readByCRIO(ctx context.Context, n *Node) error { return n.RestartRuntime(ctx) }
