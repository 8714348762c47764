package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestKubeDeploySecurity holds every rendering to what docs/install.md says of the agent's pod.
func TestKubeDeploySecurity(t *testing.T) {
	want := &corev1.SecurityContext{
		Privileged:               new(false),
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsUser:                new(int64),
		RunAsGroup:               new(int64),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for name, all := range renderings(t) {
		t.Run(name, func(t *testing.T) {
			pod := daemonSet(t, all).Spec.Template.Spec
			for _, c := range containers(&pod) {
				if diff := gocmp.Diff(want, c.SecurityContext); diff != "" {
					t.Errorf("container %s: %s", c.Name, diff)
				}
				if len(c.VolumeDevices) > 0 || c.Resources.Limits.Cpu().Sign() != 0 {
					t.Errorf("container %s has devices or a limit of CPU", c.Name)
				}
			}
			if pod.HostPID || pod.HostIPC || !pod.HostNetwork || pod.ShareProcessNamespace != nil {
				t.Errorf("namespaces of the host: PID %v, IPC %v, network %v", pod.HostPID, pod.HostIPC, pod.HostNetwork)
			}
			if context := pod.SecurityContext; context != nil {
				spc := &corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}}
				if diff := gocmp.Diff(spc, context); diff != "" {
					t.Errorf("the pod's security context: %s", diff)
				}
			}
			checkMounts(t, &pod)
		})
	}
}

func containers(pod *corev1.PodSpec) []corev1.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}

// checkMounts sees to it that only those write that must, and that one container has the token.
func checkMounts(t *testing.T, pod *corev1.PodSpec) {
	t.Helper()
	if mount := pod.AutomountServiceAccountToken; mount == nil || *mount {
		t.Error("the token is mounted into every container")
	}
	writable := map[string][]string{"install": {"cni-bin", "cni-conf"}, "agent": {"run"}, "follow": {"cni-bin", "cni-conf", "run"}}
	for _, c := range containers(pod) {
		var got []string
		for _, mount := range c.VolumeMounts {
			if !mount.ReadOnly {
				got = append(got, mount.Name)
			}
			if mount.Name == "api-access" && c.Name != "agent" {
				t.Errorf("container %s has the token", c.Name)
			}
			if mount.MountPropagation != nil {
				t.Errorf("container %s: mount %s is propagated", c.Name, mount.Name)
			}
		}
		if diff := gocmp.Diff(writable[c.Name], got); diff != "" {
			t.Errorf("container %s may write: %s", c.Name, diff)
		}
	}
	for _, volume := range pod.Volumes {
		if path := volume.HostPath; path != nil && (path.Path == "/" || strings.Count(path.Path, "/") < 2) {
			t.Errorf("volume %s is %s of the host", volume.Name, path.Path)
		}
	}
}

// TestKubeDeployDaemonSet looks at what is not about security: life, probes and resources.
func TestKubeDeployDaemonSet(t *testing.T) {
	set := daemonSet(t, kustomize(t, "."))
	pod := set.Spec.Template.Spec
	update := set.Spec.UpdateStrategy.RollingUpdate
	if update == nil || update.MaxUnavailable.String() != "10%" || update.MaxSurge.String() != "0" {
		t.Errorf("update strategy %+v", update)
	}
	if diff := gocmp.Diff([]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, pod.Tolerations); diff != "" {
		t.Errorf("tolerations: %s", diff)
	}
	if pod.PriorityClassName != "system-node-critical" || pod.ServiceAccountName != agent || pod.DNSPolicy != corev1.DNSDefault {
		t.Errorf("priority %q, account %q, DNS %q", pod.PriorityClassName, pod.ServiceAccountName, pod.DNSPolicy)
	}
	serve := pod.Containers[0]
	if serve.Name != agent[len("plexus-"):] {
		t.Fatalf("the first container is %s", serve.Name)
	}
	probe := serve.ReadinessProbe
	if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != "/readyz" || probe.HTTPGet.Host != "127.0.0.1" || probe.HTTPGet.Port.IntValue() != 9729 {
		t.Errorf("readiness probe: %+v", probe)
	}
	if serve.LivenessProbe != nil {
		t.Error("a port that is taken would end the agent")
	}
	requests, limits := serve.Resources.Requests, serve.Resources.Limits
	if requests.Cpu().String() != "10m" || requests.Memory().String() != "40Mi" || limits.Memory().String() != "100Mi" {
		t.Errorf("resources %+v", serve.Resources)
	}
}

// TestKubeDeployMetricsOnNode sees to the order of variables: one that is used in another must
// come before it.
func TestKubeDeployMetricsOnNode(t *testing.T) {
	for name, all := range map[string]int{"kustomize": 0, "helm": 1} {
		t.Run(name, func(t *testing.T) {
			rendered := kustomize(t, overlays["monitoring"].dir)
			if all == 1 {
				rendered = helm(t, overlays["monitoring"].values)
			}
			pod := daemonSet(t, rendered).Spec.Template.Spec
			for _, c := range pod.Containers {
				index := func(name string) int {
					return slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
				}
				want := "[$(HOST_IP)]:" + map[string]string{"agent": "9729", "follow": "9730"}[c.Name]
				host, address := index("HOST_IP"), index("PLEXUS_AGENT_METRICS_ADDRESS")
				if host < 0 || address < host || c.Env[address].Value != want {
					t.Errorf("container %s: environment %+v", c.Name, c.Env)
				}
			}
			if serve := pod.Containers[0]; serve.ReadinessProbe.HTTPGet.Host != "" {
				t.Error("the probe asks loopback")
			}
		})
	}
}

// TestKubeDeployFlags asks plexus-agent whether it has the flag of every variable that is set.
func TestKubeDeployFlags(t *testing.T) {
	for name, all := range renderings(t) {
		pod := daemonSet(t, all).Spec.Template.Spec
		for _, c := range containers(&pod) {
			help := agentHelp(t, c.Args)
			for _, variable := range c.Env {
				flag, ours := strings.CutPrefix(variable.Name, "PLEXUS_AGENT_")
				flag = "--" + strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
				if ours && !strings.Contains(help, flag+" ") {
					t.Errorf("%s, container %s: %s is no flag of plexus-agent %v", name, c.Name, flag, c.Args)
				}
			}
		}
	}
}

func agentHelp(t *testing.T, args []string) string {
	t.Helper()
	dir := os.Getenv("PLEXUS_BIN")
	if dir == "" {
		t.Skip("PLEXUS_BIN is not set: it names the folder of plexus-agent, which make build fills")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "plexus-agent"), append(slices.Clone(args), "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("plexus-agent %v --help: %v: %s", args, err, out)
	}
	return string(out)
}
