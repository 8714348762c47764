package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const kubeletConf = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: https://192.0.2.1:6443}}]\nusers: [{name: a, user: {token: secret}}]\n"

func TestCheckFallback(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func(t *testing.T, path string)
		words string // "" if it is one
	}{
		{"a kubeconfig", func(t *testing.T, path string) { check.Must(t, os.WriteFile(path, []byte(kubeletConf), 0o600)) }, ""},
		{"nothing", func(*testing.T, string) {}, "no such file"},
		{"a folder", func(t *testing.T, path string) { check.Must(t, os.Mkdir(path, 0o700)) }, "not a regular file"},
		{"a link to what is not mounted", func(t *testing.T, path string) { check.Must(t, os.Symlink("/not/there", path)) }, "a link to /not/there"},
		{"empty", func(t *testing.T, path string) { check.Must(t, os.WriteFile(path, nil, 0o600)) }, "no server or no user"},
		{"no user", func(t *testing.T, path string) {
			check.Must(t, os.WriteFile(path, []byte(strings.Split(kubeletConf, "users")[0]), 0o600))
		}, "no server or no user"},
		{"no YAML", func(t *testing.T, path string) { check.Must(t, os.WriteFile(path, []byte("token: [secret"), 0o600)) }, "it is not YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.options.Kubeconfig, n.options.HostKubeconfig = filepath.Join(t.TempDir(), "kubelet.conf"), "/etc/kubernetes/kubelet.conf"
			tc.make(t, n.options.Kubeconfig)
			n.conf("10-a.conflist", bridgeList)
			check.Must(t, n.installer().Install(t.Context()))
			check.Contains(t, "configuration", read(t, n.ours()), `"kubeconfig": "/etc/kubernetes/kubelet.conf"`)
			if warned := n.logged("plexus-once has no kubeconfig")(); warned != (tc.words != "") {
				t.Errorf("the log is %s", n.logs)
			}
			check.Contains(t, "log", n.logs.String(), tc.words)
			if strings.Contains(n.logs.String(), "secret") {
				t.Error("the log has what is in the file")
			}
		})
	}
}

// TestFollowChecksTheFallback: an upgrade of the distribution may move the file.
func TestFollowChecksTheFallback(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	n.options.Kubeconfig = filepath.Join(t.TempDir(), "kubelet.conf")
	check.Must(t, os.WriteFile(n.options.Kubeconfig, []byte(kubeletConf), 0o600))
	stop := n.background(n.installer().Follow)
	n.eventually("it follows", n.logged("following the default network"))
	check.Must(t, os.Remove(n.options.Kubeconfig))
	n.eventually("it warns", n.logged("plexus-once has no kubeconfig"))
	check.Must(t, stop())
}
