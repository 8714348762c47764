//go:build linux

package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// A container to which Plexus attached nothing is found by what its runtime left below /run.
func TestNetnsRuntimes(t *testing.T) {
	w := newWorld(t)
	plain := w.Sandbox("plain")
	const config = `{"annotations":{%s},"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":%q}]}}`
	containerd, crio := `"io.kubernetes.cri.sandbox-name":"web","io.kubernetes.cri.sandbox-namespace":"shop"`, `"io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"shop"`
	containerID, pod := []inspect.Target{{Container: "4f1d"}}, []inspect.Target{{Pod: "shop/web"}}
	for name, test := range map[string]struct {
		folder, config string
		pid            string
		only           []inspect.Target
		pod            string
	}{
		"containerd":               {"containerd/io.containerd.runtime.v2.task/k8s.io/4f1dab", fmt.Sprintf(config, containerd, plain.Path), "", containerID, "shop/web"},
		"containerd, by pod":       {"containerd/io.containerd.runtime.v2.task/k8s.io/4f1dab", fmt.Sprintf(config, containerd, plain.Path), "", pod, "shop/web"},
		"CRI-O, by pod":            {"containers/storage/overlay-containers/4f1dab/userdata", fmt.Sprintf(config, crio, plain.Path), "", pod, "shop/web"},
		"podman":                   {"containers/storage/vfs-containers/4f1dab/userdata", fmt.Sprintf(config, "", plain.Path), "", containerID, ""},
		"Docker":                   {"containerd/io.containerd.runtime.v2.task/moby/4f1dab", `{"linux":{"namespaces":[{"type":"network"}]}}`, "self", containerID, ""},
		"another pod":              {"containerd/io.containerd.runtime.v2.task/k8s.io/4f1dab", fmt.Sprintf(config, containerd, plain.Path), "", []inspect.Target{{Pod: "shop/db"}}, "-"},
		"another container":        {"containerd/io.containerd.runtime.v2.task/k8s.io/5f1dab", fmt.Sprintf(config, containerd, plain.Path), "", containerID, "-"},
		"a namespace that is gone": {"containerd/io.containerd.runtime.v2.task/k8s.io/4f1dab", fmt.Sprintf(config, containerd, "/run/netns/none"), "", containerID, "-"},
		"a file that is none":      {"containerd/io.containerd.runtime.v2.task/k8s.io/4f1dab", `{`, "", containerID, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			run := t.TempDir()
			folder := filepath.Join(run, test.folder)
			check.Must(t, os.MkdirAll(folder, 0o700))
			check.Must(t, os.WriteFile(filepath.Join(folder, "config.json"), []byte(test.config), 0o600))
			if test.pid != "" {
				check.Must(t, os.WriteFile(filepath.Join(folder, "init.pid"), []byte(test.pid), 0o600))
			}
			s := w.read(func(o *Options) { o.RunDir, o.Only = run, test.only })
			find := s.FindContainer
			name := "4f1d"
			if test.only[0].Pod != "" {
				find, name = s.FindPod, test.only[0].Pod
			}
			inode, err := find(name)
			if test.pod == "-" {
				check.Error(t, err, "nor has a runtime's folder")
				return
			}
			check.Must(t, err)
			ns := inspect.NewGraph(s).Namespace(inode)
			check.Equal(t, "sandbox", ns.Sandbox, &inspect.Sandbox{ContainerID: "4f1dab", Pod: test.pod})
			check.Equal(t, "read in full", ns.Brief, false)
		})
	}
}
