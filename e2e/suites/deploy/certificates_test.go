package deploy

import (
	"path"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
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

// TestKubeDeployMetricsAuthentication follows the setting to the agent alone, to the right to ask the API
// server, and to the token that Prometheus sends: never to follow, which asks for none.
func TestKubeDeployMetricsAuthentication(t *testing.T) {
	ofSecret := map[string]any{"authorization": map[string]any{"credentials": map[string]any{"name": "reader", "key": "token"}}}
	ofAccount := map[string]any{"bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}
	for name, test := range map[string]struct {
		on      bool
		secret  string
		monitor string
		list    string
		want    map[string]any
	}{
		"off":                           {false, "reader", "ServiceMonitor", "endpoints", map[string]any{}},
		"the token of the account":      {true, "", "ServiceMonitor", "endpoints", ofAccount},
		"one of a Secret":               {true, "reader", "ServiceMonitor", "endpoints", ofSecret},
		"one of a Secret by PodMonitor": {true, "reader", "PodMonitor", "podMetricsEndpoints", ofSecret},
	} {
		t.Run(name, func(t *testing.T) {
			all := helm(t, map[string]any{
				"metrics": map[string]any{"tls": map[string]any{"secret": "c"}, "authentication": map[string]any{"enabled": test.on, "tokenSecret": test.secret}},
				"monitoring": map[string]any{
					"enabled": true, "serviceMonitor": map[string]any{"enabled": test.monitor == "ServiceMonitor"}, "podMonitor": map[string]any{"enabled": test.monitor == "PodMonitor"},
				},
			})
			pod := daemonSet(t, all).Spec.Template.Spec
			for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
				if got := valueOf(container, "PLEXUS_AGENT_METRICS_AUTHENTICATION") == "true"; got != (test.on && container.Name == "agent") {
					t.Errorf("%s: the setting is %v", container.Name, got)
				}
			}
			endpoints, _, err := unstructured.NestedSlice(find(t, all, test.monitor).Object, "spec", test.list)
			if err != nil || len(endpoints) != 2 {
				t.Fatalf("endpoints %v: %v", endpoints, err)
			}
			for _, e := range endpoints {
				endpoint, want, got := e.(map[string]any), test.want, map[string]any{}
				if endpoint["port"] == "follow" {
					want = map[string]any{}
				}
				for _, key := range []string{"authorization", "bearerTokenFile", "bearerTokenSecret"} {
					if value, there := endpoint[key]; there {
						got[key] = value
					}
				}
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("port %s, wanted (-) and given (+):\n%s", endpoint["port"], diff)
				}
			}
			checkReviews(t, all, test.on)
		})
	}
}

// checkReviews demands the right to ask whose a token is and what its user may do, or that it is missing.
func checkReviews(t *testing.T, all []*unstructured.Unstructured, on bool) {
	t.Helper()
	var want, got []any
	if on {
		want = []any{
			map[string]any{"apiGroups": []any{"authentication.k8s.io"}, "resources": []any{"tokenreviews"}, "verbs": []any{"create"}},
			map[string]any{"apiGroups": []any{"authorization.k8s.io"}, "resources": []any{"subjectaccessreviews"}, "verbs": []any{"create"}},
		}
	}
	for _, object := range all {
		if object.GetKind() != "ClusterRole" || object.GetName() != agent {
			continue
		}
		rules, _, err := unstructured.NestedSlice(object.Object, "rules")
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			if group := rule.(map[string]any)["apiGroups"].([]any)[0].(string); strings.HasPrefix(group, "auth") {
				got = append(got, rule)
			}
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("rights to ask, wanted (-) and given (+):\n%s", diff)
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
