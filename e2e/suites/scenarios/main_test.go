// Package scenarios proves Plexus on real clusters: kubelets, containerd, and pods that come and
// go. Each test is one scenario of package cluster, whose documentation says how to add one.
package scenarios

import (
	"os"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
