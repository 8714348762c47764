// Package masters proves Plexus on the cluster networks that are most used.
package masters

import (
	"os"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/masters"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// The published network, the default of most clusters.
func TestE2EFlannelVXLAN(t *testing.T) {
	tr := flannelTrial("vxlan", "dev flannel.1")
	tr.way = overVXLAN("-bridged- cni0 -routed- ", "flannel.1", " -routed- cni0 -bridged-")
	tr.faults = faultsOfVXLAN
	tr.run(t)
}

// The nodes route to each other's pods, without an overlay.
func TestE2EFlannelHostGW(t *testing.T) {
	tr := flannelTrial("host-gw", "via 10.199.0.12 dev eth0")
	tr.way = "eth0 -pair- FROM -bridged- cni0 -routed- eth0 -wire- eth0 -routed- cni0 -bridged- TO -pair- eth0: arrives"
	tr.faults = faultsOfHostGW
	tr.run(t)
}

// overVXLAN is a way by a VTEP, with what is between it and the host ends.
func overVXLAN(before, vtep, after string) string {
	return "eth0 -pair- FROM " + before + vtep + " -encapsulated- eth0 -wire- eth0 -decapsulated- " + vtep + after + " TO -pair- eth0: arrives"
}

func flannelTrial(backend, route string) *trial {
	return &trial{
		master: masters.Flannel{Backend: backend}, needs: []string{masters.FlannelVar, masters.FlannelCNIVar},
		network: "cbr0", plugin: "flannel", example: "flannel/refused-second-flannel.yaml",
		missing: masters.SubnetFile, left: flannelScratch, route: route, page: "flannel-" + backend,
	}
}

// Calico answers without the pod's interface, and keeps addresses in the API.
func TestE2ECalico(t *testing.T) {
	tr := calicoTrial(masters.Calico{}, masters.CalicoVar)
	tr.missing, tr.conf, tr.route = masters.NodenameFile, masters.CalicoConf, "dev vxlan.calico"
	tr.left = calicoHandles
	tr.way, tr.page, tr.faults = overVXLAN("-routed- ", "vxlan.calico", " -routed-"), "calico", faultsOfCalico
	tr.run(t)
}

// Canal is Calico's plugin with host-local's addresses, on Flannel's network.
func TestE2ECanal(t *testing.T) {
	tr := calicoTrial(masters.Canal{}, masters.CalicoVar, masters.FlannelVar)
	tr.missing, tr.conf, tr.route = masters.CalicoKubeconfig, masters.CanalConf, "dev flannel.1"
	tr.way, tr.page, tr.faults = overVXLAN("-routed- ", "flannel.1", " -routed-"), "canal", faultsOfCanal
	tr.run(t)
}

func calicoTrial(master cluster.Master, needs ...string) *trial {
	return &trial{
		master: master, needs: needs,
		network: "k8s-pod-network", plugin: "calico", example: "calico/refused-second-calico.yaml",
		policies: true,
	}
}
