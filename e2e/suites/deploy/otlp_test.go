package deploy

import (
	"path"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestKubeDeployAuthorityOfTraces follows the file that the agent is told to the object that has
// it, in the container of the agent alone.
func TestKubeDeployAuthorityOfTraces(t *testing.T) {
	for kind, object := range map[string]func(corev1.Volume) (name string, optional *bool){
		"configMap": func(v corev1.Volume) (string, *bool) { return v.ConfigMap.Name, v.ConfigMap.Optional },
		"secret":    func(v corev1.Volume) (string, *bool) { return v.Secret.SecretName, v.Secret.Optional },
	} {
		t.Run(kind, func(t *testing.T) {
			values := map[string]any{"agent": map[string]any{
				"otlpEndpoint": "https://collector:4318", "otlpCA": map[string]any{kind: "authority", "key": "bundle.pem"},
			}}
			pod := daemonSet(t, helm(t, values)).Spec.Template.Spec
			for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
				file := valueOf(container, "OTEL_EXPORTER_OTLP_CERTIFICATE")
				i := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path.Dir(file) && m.ReadOnly })
				if container.Name != "agent" {
					if file != "" {
						t.Errorf("%s: has the authority in %s", container.Name, file)
					}
					continue
				}
				if path.Base(file) != "bundle.pem" || i < 0 {
					t.Fatalf("the agent's file is %s, its mounts are %v", file, container.VolumeMounts)
				}
				volume := pod.Volumes[slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == container.VolumeMounts[i].Name })]
				if name, optional := object(volume); name != "authority" || optional == nil || !*optional {
					t.Errorf("it is of %s, optional %v", name, optional)
				}
			}
		})
	}
}

func valueOf(container corev1.Container, variable string) string {
	for _, env := range container.Env {
		if env.Name == variable {
			return env.Value
		}
	}
	return ""
}
