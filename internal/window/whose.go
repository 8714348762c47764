package window

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// pageOfPods is how many pods the API server gives at once.
const pageOfPods = 500

// notOver leaves out pods whose addresses others may have by now: what was published of them stays.
const notOver = "status.phase!=Succeeded,status.phase!=Failed"

// annotationsAlone has the API server leave out everything of an object but its metadata.
const annotationsAlone = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// nodeOfAddress gives the node of the pod that has an address on any of its networks, or the node whose address
// it is; "" where the cluster knows none. The error says why it was not found out, or which pods share the address.
func (a *afar) nodeOfAddress(ctx context.Context, address string) (string, error) {
	c, err := a.connect()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var failed error
	for _, look := range []func(context.Context, string) (string, error){c.nodeOfPodIP, c.nodeOfItsAddress} {
		node, err := look(ctx, address)
		if err == nil && node != "" {
			return node, nil
		}
		failed = cmp.Or(failed, err)
	}
	pod, err := c.podAttached(ctx, address)
	if err != nil || pod == "" {
		return "", cmp.Or(failed, err)
	}
	return a.nodeOf(ctx, pod)
}

// nodeOfPodIP looks for the address at eth0. Pods of the host's network share that of their node.
func (c *clients) nodeOfPodIP(ctx context.Context, address string) (string, error) {
	pods, err := c.core.Pods("").List(ctx, metav1.ListOptions{FieldSelector: "status.podIP=" + inspect.ParseIP(address).String() + "," + notOver})
	if err != nil {
		return "", err
	}
	var nodes []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName != "" && !slices.Contains(nodes, pod.Spec.NodeName) {
			nodes = append(nodes, pod.Spec.NodeName)
		}
	}
	if len(nodes) > 1 {
		return "", fmt.Errorf("pods of the nodes %s have it", strings.Join(nodes, ", "))
	}
	return strings.Join(nodes, ""), nil
}

func (c *clients) nodeOfItsAddress(ctx context.Context, address string) (string, error) {
	nodes, err := c.core.Nodes().List(ctx, metav1.ListOptions{LabelSelector: corev1.LabelOSStable + "=linux"})
	if err != nil {
		return "", err
	}
	for i := range nodes.Items {
		if slices.ContainsFunc(nodes.Items[i].Status.Addresses, func(a corev1.NodeAddress) bool { return sameAddress(a.Address, address) }) {
			return nodes.Items[i].Name, nil
		}
	}
	return "", nil
}

// podAttached looks for the address in what Plexus has published of each pod, and gives that one's name.
func (c *clients) podAttached(ctx context.Context, address string) (string, error) {
	var pods []string
	options := metav1.ListOptions{Limit: pageOfPods, FieldSelector: notOver}
	for {
		var page metav1.PartialObjectMetadataList
		data, err := c.core.RESTClient().Get().Resource("pods").SetHeader("Accept", annotationsAlone).
			VersionedParams(&options, scheme.ParameterCodec).Do(ctx).Raw()
		if err == nil {
			err = json.Unmarshal(data, &page)
		}
		if err != nil {
			return "", err
		}
		for i := range page.Items {
			if hasPublished(page.Items[i].Annotations[types.AnnotationNetworkStatus], address) {
				pods = append(pods, page.Items[i].Namespace+"/"+page.Items[i].Name)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	if len(pods) < 2 {
		return strings.Join(pods, ""), nil
	}
	slices.Sort(pods)
	return "", fmt.Errorf("the pods %s have it: name the one that is meant", strings.Join(pods, ", "))
}

// hasPublished reports whether a network-status annotation has an address. What cannot be read has none.
func hasPublished(annotation, address string) bool {
	status, _ := types.ParseStatus(annotation)
	for _, attached := range status {
		if slices.ContainsFunc(attached.IPs, func(ip string) bool { return sameAddress(ip, address) }) {
			return true
		}
	}
	return false
}

func sameAddress(one, other string) bool {
	ip := inspect.ParseIP(one)
	return ip.IsValid() && ip == inspect.ParseIP(other)
}
