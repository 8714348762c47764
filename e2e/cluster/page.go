package main

import (
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// kind says which cluster it is, for a sentence.
func (s *state) kind() string {
	text := "with network " + s.Master
	if s.Multus {
		text += " and Multus"
	}
	return text
}

// page says how to use the cluster. Its lines with four blanks are command lines, each to be
// pasted as it is; the test runs them one after the other.
func page(o *options, s *state) string {
	text := pageWithPlexus
	if s.Multus {
		text = pageWithMultus
	}
	return strings.NewReplacer(
		"{kind}", s.kind(), "{took}", s.Took, "{image}", cluster.BusyboxImage,
		"{kubeconfig}", o.path(kubeconfig), "{bin}", o.path(binDir), "{files}", o.path(filesLink),
		"{examples}", o.example(), "{deploy}", filepath.Join(o.source, "deploy"), "{make}", o.make(),
	).Replace(pageHead + text + pageEnd)
}

// make is how to call make from anywhere.
func (o *options) make() string {
	if dir, standard := o.dir, filepath.Join(o.source, "out", "cluster"); dir != standard {
		return "make -sC " + o.source + " CLUSTER_DIR=" + dir
	}
	return "make -sC " + o.source
}

const pageHead = `
The cluster {kind} is up: node1 and node2, each with containerd and a kubelet of its own. It took {took}.

Use it in your shell. Any kubectl will do; the second folder has one:
    export KUBECONFIG={kubeconfig} PATH={bin}:$PATH
    kubectl get pods -A -o wide
`

const pageExample = `
    kubectl apply -f {examples}
    kubectl wait --for=condition=Ready pod/a pod/b
`

const pageSeen = `    kubectl exec a -- ip addr                     # eth0, and net0 on network lan
    kubectl exec a -- ping -c 2 192.168.50.12     # pod b, on the other node, over net0
    kubectl get pod a -o jsonpath='{.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}'
    kubectl get events --field-selector involvedObject.name=a
`

const pageWithPlexus = `
A network over the nodes' eth1, and two pods on it. The nodes reach no registry: pods can use the image {image}.` + pageExample + `
What Plexus has done:
` + pageSeen + `    kubectl -n plexus-system logs daemonset/plexus-agent -c agent

On a node: the configuration, the journal with one file for each pod; without CMD, a shell (crictl, ctr, ip):
    {make} cluster-shell NODE=node1 CMD='cat /etc/cni/net.d/00-plexus.conflist; ls /var/lib/cni/plexus/plexus'
    {make} cluster-shell NODE=node1
`

const pageWithMultus = `
Multus (thin) attaches the pods, and pod "before" runs with it on node1. Plexus is not installed.
    kubectl exec before -- ip addr                # eth0, and net1 on network old
    kubectl get pod before -o jsonpath='{.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}'

The change-over. Plexus is installed beside Multus, and says that Multus's file comes first:
    kubectl apply -k {deploy}
    kubectl -n plexus-system rollout status daemonset/plexus-agent
    kubectl -n plexus-system logs daemonset/plexus-agent -c install | grep 00-multus.conf
Multus's file goes, on each node. From now on Plexus attaches, and pod "before" runs on:
    {make} cluster-shell NODE=node1 CMD='mv /etc/cni/net.d/00-multus.conf /etc/cni/'
    {make} cluster-shell NODE=node2 CMD='mv /etc/cni/net.d/00-multus.conf /etc/cni/'

New pods (image {image}; there is no registry). Interfaces count from net0, see docs/migrating-from-multus.md.` + pageExample +
	pageSeen + `
Plexus releases what Multus has attached: the address of pod "before" is reserved, and then it is free.
    {make} cluster-shell NODE=node1 CMD='ls /var/lib/cni/networks/old /var/lib/cni/multus'
    kubectl delete pod before
    {make} cluster-shell NODE=node1 CMD='ls /var/lib/cni/networks/old /var/lib/cni/multus'
`

const pageEnd = `
The nodes' disks and all logs are in {files}. Details: docs/cluster.md. Remove the cluster:
    {make} cluster-down
`
