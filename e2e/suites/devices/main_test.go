// Package devices proves that the devices of device plugins reach the pods to which a real
// kubelet has allocated them.
package devices

import (
	"os"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
