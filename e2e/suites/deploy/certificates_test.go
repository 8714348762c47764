package deploy

import (
	"path"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

// TestKubeDeployMetricsOverTLS follows the certificate's files to the Secret, in the two containers
// that serve, and demands that kubelet and Prometheus ask by TLS. Off, nothing of it is there.
func TestKubeDeployMetricsOverTLS(t *testing.T) {
	for _, secret := range []string{"", "certificate"} {
		values := map[string]any{"metrics": map[string]any{"tls": map[string]any{"secret": secret}}, "monitoring": map[string]any{"enabled": true}}
		all := helm(t, values)
		pod := daemonSet(t, all).Spec.Template.Spec
		for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
			certificate, key := valueOf(container, "PLEXUS_AGENT_METRICS_TLS_CERT"), valueOf(container, "PLEXUS_AGENT_METRICS_TLS_KEY")
			i := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "metrics-tls" && m.ReadOnly })
			if secret == "" || container.Name == "install" {
				if certificate+key != "" || i >= 0 {
					t.Errorf("%s: has a certificate in %s, and its key in %s", container.Name, certificate, key)
				}
				continue
			}
			if i < 0 || certificate != container.VolumeMounts[i].MountPath+"/tls.crt" || key != container.VolumeMounts[i].MountPath+"/tls.key" {
				t.Errorf("%s: has a certificate in %s, its key in %s, and the mounts %v", container.Name, certificate, key, container.VolumeMounts)
			}
		}
		scheme, ofProbe := "", corev1.URIScheme("")
		if secret != "" {
			scheme, ofProbe = "https", corev1.URISchemeHTTPS
		}
		if got := pod.Containers[0].ReadinessProbe.HTTPGet.Scheme; got != ofProbe {
			t.Errorf("the probe's scheme is %q, want %q", got, ofProbe)
		}
		endpoints, _, err := unstructured.NestedSlice(find(t, all, "ServiceMonitor").Object, "spec", "endpoints")
		if err != nil || len(endpoints) != 2 {
			t.Fatalf("endpoints %v: %v", endpoints, err)
		}
		for _, endpoint := range endpoints {
			if got, _ := endpoint.(map[string]any)["scheme"].(string); got != scheme {
				t.Errorf("the scheme of an endpoint is %q, want %q", got, scheme)
			}
		}
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "metrics-tls" })
		if (i >= 0) != (secret != "") || i >= 0 && pod.Volumes[i].Secret.SecretName != secret {
			t.Errorf("the volumes are %v", pod.Volumes)
		}
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
