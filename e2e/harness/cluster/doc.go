// Package cluster runs real Kubernetes clusters on one machine, for scenarios: control plane,
// controllers, and nodes with a kubelet and a runtime each, built from their modules: containerd, or
// CRI-O.
//
// A node is a machine of its own as far as Plexus can tell: PID, network, mount, UTS and IPC
// namespaces, the usual paths (/etc/cni/net.d, /opt/cni/bin, /var/lib, /run), and a first process.
// Killing that process is a power cut ([Node.Reboot]). Two networks join the nodes: eth0, for the
// cluster, and eth1, for further networks of pods. Plexus is installed as its users do it: image,
// kubectl apply -k deploy/, a DaemonSet ([WithAgent]), or the install command alone ([Alone]).
//
// A package of scenarios shares one cluster, started by the first scenario that asks for it:
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
//
//	func TestE2ETwoPods(t *testing.T) {
//		s := cluster.Shared(t).Scenario(t) // a namespace of its own
//		s.Network("mv", cluster.Macvlan(50, 10, 99))
//		a := s.Pod("a", cluster.On(s.Node(1)), cluster.Networks("mv")).AwaitReady()
//		b := s.Pod("b", cluster.On(s.Node(1)), cluster.Networks("mv")).AwaitReady()
//		a.MustHave("eth0", "net0") // interfaces, and a network status that says the same
//		a.MustPing(b.IP("net0"))
//	}
//
// At the end of a scenario its pods are deleted, and nothing may be left of them on any node. One
// that needs another cluster starts it with [New]: other runtimes, another cluster network
// ([Master]), a node without Plexus. Only one cluster runs at a time. [Machine] has no Kubernetes, for
// podman.
//
// Everything runs in namespaces of the test process, without a way out: no packet leaves the
// machine, no setting of the machine is changed, and when the process ends, however it ends, the
// nodes end with it. What a failed scenario saw (logs, networks, journals, objects, events) is
// kept in out/e2e, or where PLEXUS_E2E_OUT points.
//
// Machines like those of the continuous integration have control groups v1; what kubelet and
// containerd need for that is in their configuration here. With v2 the nodes' groups are made too.
//
// A cluster that is no test's, as that of make cluster, is started by [Start] inside [Isolate].
package cluster
