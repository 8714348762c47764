package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With v2, each group on the way to a node's passes on what a kubelet wants and the kernel has. The
// last one, the node's own, is left to the kubelet.
func TestKubeUnifiedCgroups(t *testing.T) {
	for has, want := range map[string]string{
		"cpuset cpu io memory hugetlb pids rdma misc\n": "+cpuset +cpu +io +memory +hugetlb +pids",
		"cpu memory pids\n":                             "+cpu +memory +pids",
	} {
		root := t.TempDir()
		// The kernel makes these files; the group that is new here has them before.
		for _, group := range []string{root, filepath.Join(root, "run")} {
			if err := os.MkdirAll(group, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(group, "cgroup.controllers"), []byte(has), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := makeUnified(root, "run/node1"); err != nil {
			t.Fatal(err)
		}
		passed := map[string]string{}
		for _, group := range []string{"", "run", filepath.Join("run", "node1")} {
			if text, err := os.ReadFile(filepath.Join(root, group, "cgroup.subtree_control")); err == nil {
				passed[group] = string(text)
			}
		}
		if diff := cmp.Diff(map[string]string{"": want, "run": want}, passed); diff != "" {
			t.Errorf("of %q the groups pass on (-want +got):\n%s", has, diff)
		}
		if _, err := os.Stat(filepath.Join(root, "run", "node1")); err != nil {
			t.Errorf("the node has no group: %v", err)
		}
	}
}
