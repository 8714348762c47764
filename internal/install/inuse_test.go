package install

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// TestFollowKnowsWhetherTheNodeUsesPlexus: what it cannot mend, or not yet, is a metric.
func TestFollowKnowsWhetherTheNodeUsesPlexus(t *testing.T) {
	for _, tc := range []struct {
		name, reason string
		harm         func(n *testNode)
		words        string // of /readyz; "" if it is ready all the same
	}{
		{"another file comes first", types.UseConfiguration, func(n *testNode) { n.conf("00-aaa.conflist", bridgeList) }, "the runtime takes 00-aaa.conflist"},
		{"a broken file comes first", types.UseConfiguration, func(n *testNode) { n.conf("00-aaa.conf", "{") }, "the runtime takes 00-aaa.conf"},
		{"another's file has our name", types.UseConfiguration, func(n *testNode) { n.conf(n.options.ConfName, single) }, "is not as it was made here"},
		{"ours was changed by hand", types.UseConfiguration, func(n *testNode) { n.conf(n.options.ConfName, ourList) }, "is not as it was made here"},
		{"an executable cannot be put back", types.UseExecutables, func(n *testNode) {
			n.folderFor("plexus")
		}, "missing or changed: plexus"},
		{"the default network is gone", types.UseDefaultNetwork, func(n *testNode) { check.Must(n.t, os.Remove(n.confPath("10-a.conflist"))) }, "no configuration of a default network"},
		{"a plugin of it is gone", types.UseDefaultNetwork, func(n *testNode) { check.Must(n.t, os.Remove(n.bin("bridge"))) }, "yet: bridge"},
		{"the kubeconfig is gone", types.UseFallback, func(n *testNode) { check.Must(n.t, os.Remove(n.options.Kubeconfig)) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			n.options.Kubeconfig, n.options.MetricsAddress = filepath.Join(t.TempDir(), "kubelet.conf"), "127.0.0.1:0"
			check.Must(t, os.WriteFile(n.options.Kubeconfig, []byte(kubeletConf), 0o600))
			i := n.installer()
			stop := n.background(i.Follow)
			n.eventually("it serves probes", func() bool { return served.MatchString(n.logs.String()) })
			url := "http://" + served.FindStringSubmatch(n.logs.String())[1] + "/readyz"
			n.eventually("it is ready", func() bool { status, _ := get(t, url); return status == http.StatusOK })
			check.Equal(t, "in use before", i.value(t, "plexus_node_in_use", tc.reason), 1)
			tc.harm(n)
			n.eventually("it is not in use", func() bool { return i.value(t, "plexus_node_in_use", tc.reason) == 0 })
			status, body := get(t, url)
			check.Contains(t, "answer", body, tc.words)
			check.Equal(t, "ready", status == http.StatusOK, tc.words == "")
			check.Must(t, stop())
		})
	}
}

func TestFollowIsNotReadyBeforeTheDefaultNetworkIs(t *testing.T) {
	n := newTestNode(t)
	n.options.MetricsAddress = "127.0.0.1:0"
	stop := n.background(n.installer().Follow)
	n.eventually("it serves probes", func() bool { return served.MatchString(n.logs.String()) })
	status, body := get(t, "http://"+served.FindStringSubmatch(n.logs.String())[1]+"/readyz")
	check.Equal(t, "status", status, http.StatusServiceUnavailable)
	check.Contains(t, "answer", body, "not installed yet")
	check.Must(t, stop())
}
