package cluster

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// KeepRuntime starts the node's runtime again whenever it ends by itself, as the service manager
// of a machine does: containerd ends when its folder of configurations is moved or removed.
// Nothing else may start or stop the runtime until stop is called, which gives how often it
// was started again, and the first error.
func (n *Node) KeepRuntime() (stop func() (restarts int, err error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	var restarts int
	var failed error
	keeping.Go(func() {
		for failed == nil {
			select {
			case <-ctx.Done():
				return
			case <-n.server.Done():
				restarts++
				failed = n.StartRuntime(ctx)
			}
		}
	})
	return func() (int, error) {
		cancel()
		keeping.Wait()
		return restarts, failed
	}
}

// MountForInstall mounts a folder of the nodes by its own path, read-only, into the containers
// that install, as deploy/components/k3s does with the folder that has the links. It waits for
// the agents.
func (c *Cluster) MountForInstall(ctx context.Context, path string) error {
	if err := c.changeAgents(ctx, func(template *corev1.PodSpec) {
		const name = "links"
		template.Volumes = append(template.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: path},
		}})
		for _, containers := range [][]corev1.Container{template.InitContainers, template.Containers} {
			for i := range containers {
				if containers[i].Args[0] == "install" {
					containers[i].VolumeMounts = append(containers[i].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true})
				}
			}
		}
	}); err != nil {
		return err
	}
	return c.AwaitAgents(ctx)
}
