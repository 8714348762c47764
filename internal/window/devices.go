package window

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/plexus-cni/plexus/k8sclient/kubelet"
	"github.com/plexus-cni/plexus/types"
)

// addDevices adds the devices of a pod to its facts, if a network takes any: those that the
// kubelet of this machine and the API server name, else as many as the pod requests and as its
// claims ask for. It says what is assumed.
func addDevices(ctx context.Context, n *node, source podSource, facts *types.Facts) ([]string, error) {
	if n.config == nil || !facts.WantDevices() {
		return nil, nil
	}
	asked := false
	if n.saved == nil {
		tried, err := askKubelet(ctx, n.config, facts)
		asked = tried && err == nil
	}
	claimed, err := addClaimed(ctx, n, source, facts)
	if err != nil {
		return nil, err
	}
	var assumed []string
	if !asked && len(deviceResources(facts)) > 0 {
		if assumed, err = assumeDevices(ctx, n, source, facts); err != nil {
			return nil, err
		}
	}
	assignResources(facts, n.config.MultusNamespace)
	return append(assumed, claimed...), nil
}

// assumeDevices gives a pod the devices that it requests of device plugins, and says so. What a
// claim allocates of a resource that the pod requests is that; what claims give instead is told by
// itself.
func assumeDevices(ctx context.Context, n *node, source podSource, facts *types.Facts) ([]string, error) {
	spec, err := source.Spec(ctx, types.Ref{Namespace: facts.Pod.Namespace, Name: facts.Pod.Name})
	if err != nil {
		return nil, err
	}
	requested := requests(spec)
	for i := range facts.Claimed {
		if d := &facts.Claimed[i]; d.PodClaim == "" { // of the claim for extended resources
			requested[d.Resource]--
		}
	}
	facts.Devices = assumedDevices(requested, namedDevices(facts, n.config.MultusNamespace))
	resources := slices.DeleteFunc(deviceResources(facts), func(r string) bool { return len(facts.Claimed) > 0 && len(facts.Devices[r]) == 0 })
	if len(resources) == 0 {
		return nil, nil
	}
	return []string{"the kubelet allocates as many devices as the pod requests; which ones is not known, for which DEVICE-1-OF-… stands: " +
		strings.Join(resources, ", ")}, nil
}

// askKubelet asks the kubelet of this machine, if there is one.
func askKubelet(ctx context.Context, config *types.Config, facts *types.Facts) (asked bool, err error) {
	if _, err := os.Stat(config.PodResourcesSocket); config.PodResourcesSocket == "" || err != nil {
		return false, nil
	}
	devices := kubelet.Devices{Socket: config.PodResourcesSocket, Checkpoint: config.DeviceCheckpoint}
	return true, devices.Complete(ctx, facts)
}

// deviceResources gives the resources that networks of the pod take, sorted.
func deviceResources(facts *types.Facts) []string {
	var resources []string
	for i := range facts.Networks {
		if name := facts.Networks[i].ResourceName; name != "" {
			resources = append(resources, name)
		}
	}
	slices.Sort(resources)
	return slices.Compact(resources)
}

// namedDevices gives the devices that the pod names, each with the resource of its network.
func namedDevices(facts *types.Facts, multusNamespace string) []types.Device {
	var named []types.Device
	for _, s := range facts.Pod.Selections(multusNamespace) {
		network, err := facts.Network(s.Ref())
		if err == nil && s.DeviceID != "" {
			named = append(named, types.Device{Resource: network.ResourceName, ID: s.DeviceID})
		}
	}
	return named
}

// assumedDevices gives as many devices as are requested of each resource: those that the pod
// names of it, and made-up ones.
func assumedDevices(requested map[string]int, named []types.Device) map[string][]string {
	devices := map[string][]string{}
	for resource, n := range requested {
		for _, device := range named {
			if (device.Resource == resource || device.Resource == "") && len(devices[resource]) < n && !slices.Contains(devices[resource], device.ID) {
				devices[resource] = append(devices[resource], device.ID)
			}
		}
		for i := len(devices[resource]); i < n; i++ {
			devices[resource] = append(devices[resource], fmt.Sprintf("DEVICE-%d-OF-%s", i+1, resource))
		}
	}
	return devices
}

// requests gives how many devices of each extended resource the containers of a pod have
// together. An init container that ends hands its own on.
func requests(spec *corev1.PodSpec) map[string]int {
	total, initial := map[string]int{}, map[string]int{}
	for i := range spec.Containers {
		addRequests(total, &spec.Containers[i])
	}
	for i := range spec.InitContainers {
		container := &spec.InitContainers[i]
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			addRequests(total, container)
			continue
		}
		own := map[string]int{}
		addRequests(own, container)
		for resource, n := range own {
			initial[resource] = max(initial[resource], n)
		}
	}
	for resource, n := range initial {
		total[resource] = max(total[resource], n)
	}
	return total
}

// addRequests adds what a container requests of extended resources, whose names have a slash.
func addRequests(to map[string]int, container *corev1.Container) {
	for name, quantity := range container.Resources.Limits {
		if strings.Contains(string(name), "/") {
			to[string(name)] += int(quantity.Value())
		}
	}
}
