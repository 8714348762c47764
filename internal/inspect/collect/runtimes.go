//go:build linux

package collect

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/inspect"
)

// runtimeBundles are where runtimes keep what they run of a container, below /run: containerd, nerdctl
// and Docker; podman and CRI-O. No runtime is asked.
var runtimeBundles = []string{"containerd/io.containerd.runtime.v2.task/*/ID", "containers/storage/*-containers/ID/userdata"}

// bundle is what a runtime keeps of a container.
type bundle struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
	} `json:"linux"`
}

// searchRuntimes finds pods and containers that are asked for and that the journal does not have, as
// those to which Plexus attached nothing.
func (c *collector) searchRuntimes() {
	c.unrecorded = map[uint64]inspect.Sandbox{}
	for _, target := range c.options.Only {
		recorded := slices.ContainsFunc(c.snapshot.Records, func(r inspect.Record) bool { return r.Live && isOf(target, r.Sandbox) })
		if recorded || target.Pod == "" && target.Container == "" {
			continue
		}
		for _, pattern := range runtimeBundles {
			pattern = strings.Replace(pattern, "ID", target.Container+"*", 1)
			found, _ := filepath.Glob(filepath.Join(cmp.Or(c.options.RunDir, "/run"), pattern, "config.json"))
			for _, file := range found {
				c.readBundle(target, file)
			}
		}
	}
}

func (c *collector) readBundle(target inspect.Target, file string) {
	data, err := os.ReadFile(file)
	var read bundle
	if err != nil || json.Unmarshal(data, &read) != nil {
		return
	}
	folder := filepath.Dir(file)
	sandbox := inspect.Sandbox{ContainerID: filepath.Base(strings.TrimSuffix(folder, "/userdata")), Pod: read.pod()}
	path := read.netns(folder)
	if inode, exists := host.NetNS(path); exists && inode != 0 && isOf(target, sandbox) {
		c.options.NetNS = append(c.options.NetNS, path)
		c.unrecorded[inode] = sandbox
	}
}

// pod gives the name of the container's pod, as containerd and CRI-O write it.
func (b *bundle) pod() string {
	for _, keys := range [][2]string{
		{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"}, {"io.kubernetes.pod.namespace", "io.kubernetes.pod.name"},
	} {
		if name := b.Annotations[keys[1]]; name != "" {
			return b.Annotations[keys[0]] + "/" + name
		}
	}
	return ""
}

// netns gives the path of the container's network namespace. Where the runtime has it made with the
// container, it is that of its first process.
func (b *bundle) netns(folder string) string {
	for _, ns := range b.Linux.Namespaces {
		if ns.Type == "network" && ns.Path != "" {
			return ns.Path
		}
	}
	for _, name := range []string{"init.pid", "pidfile"} {
		if pid, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			return "/proc/" + strings.TrimSpace(string(pid)) + "/ns/net"
		}
	}
	return ""
}

// isOf reports whether a sandbox is the pod or the container that is asked for.
func isOf(target inspect.Target, sandbox inspect.Sandbox) bool {
	return target.Pod != "" && sandbox.Pod == target.Pod || target.Container != "" && strings.HasPrefix(sandbox.ContainerID, target.Container)
}
