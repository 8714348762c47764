// Package windowpod reads a node of a cluster through a window pod: a pod that it makes there by the
// API, in which kubectl-plexus reads the node, and which ends by itself.
package windowpod

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/plexus-cni/plexus/internal/inspect/stream"
)

const (
	// Namespace is where window pods are, by the manifests.
	Namespace = "plexus-system"
	// HostRoot is where a window pod has the folders of its node.
	HostRoot = "/host"

	configMap   = "plexus-window"
	namePrefix  = "plexus-window-"
	capturing   = namePrefix + "capture-" // begins the name of a pod that can capture packets
	container   = "window"
	program     = "/opt/plexus/bin/kubectl-plexus"
	labels      = "app.kubernetes.io/name=plexus,app.kubernetes.io/component=window"
	agentLabels = "app.kubernetes.io/name=plexus,app.kubernetes.io/component=agent"
	deadline    = time.Hour
	defaultDirs = "/run/netns"
)

// Limits of how long a window pod stays when nobody uses it.
const (
	DefaultKeep = 2 * time.Minute
	MinKeep     = 10 * time.Second
	MaxKeep     = time.Hour
)

// CheckKeep refuses a time for which no window pod may be kept.
func CheckKeep(keep time.Duration) error {
	if keep < MinKeep || keep > MaxKeep || keep%time.Second != 0 {
		return fmt.Errorf("a window pod may be kept for %s to %s, in whole seconds, not for %s", MinKeep, MaxKeep, keep)
	}
	return nil
}

// errSettings is the error for a ConfigMap of which no pod can be made.
var errSettings = errors.New("the ConfigMap " + configMap + " is not complete")

// settings are what the ConfigMap says. The admission policy compares pods with the same values.
type settings struct {
	image, cniDir, confDir, binDir string
	netnsDirs                      []string
	seLinuxType                    string
}

func settingsOf(data map[string]string) (settings, error) {
	s := settings{image: data["image"], cniDir: data["cniDir"], confDir: data["confDir"], binDir: data["binDir"], seLinuxType: data["seLinuxType"]}
	dirs := data["netnsDirs"]
	if dirs == "" {
		dirs = defaultDirs
	}
	for _, dir := range strings.Split(dirs, ",") {
		s.netnsDirs = append(s.netnsDirs, strings.TrimSpace(dir))
	}
	if s.image == "" {
		return s, fmt.Errorf("%w: it has no image", errSettings)
	}
	for key, dir := range map[string]string{"cniDir": s.cniDir, "confDir": s.confDir, "binDir": s.binDir, "netnsDirs": s.netnsDirs[0]} {
		if !path.IsAbs(dir) {
			return s, fmt.Errorf("%w: its %s is %q, which is no path of a node", errSettings, key, dir)
		}
	}
	return s, nil
}

// folders are those that the pod reads, as it is told.
func (s settings) folders() stream.Folders {
	return stream.Folders{State: s.cniDir + "/plexus", NetNS: s.netnsDirs, ConfDir: s.confDir, BinDir: s.binDir}
}

// Needs is how much of a node is read, by which the pod's capabilities are chosen.
type Needs int

// What is needed; each can do what those before it can.
const (
	Brief Needs = iota // interfaces and addresses of all namespaces
	Full               // all of it, for which every namespace is entered
	Watch              // packets too, of any interface, and to send some
	Why                // the kernel's reasons for dropping packets too
)

// added are the capabilities that each of the needs takes beside those before it.
var added = map[Needs][]corev1.Capability{Brief: {"NET_ADMIN"}, Full: {"SYS_ADMIN"}, Watch: {"NET_RAW"}, Why: {"BPF", "PERFMON"}}

func (n Needs) capabilities() (all []corev1.Capability) {
	for need := Brief; need <= n; need++ {
		all = append(all, added[need]...)
	}
	return all
}

// prefix begins the name of a pod. The policy of commands knows a pod by its name alone, and lets into
// one that can capture packets only those who may.
func (n Needs) prefix() string {
	if n >= Watch {
		return capturing
	}
	return namePrefix
}

func canCapture(pod string) bool { return strings.HasPrefix(pod, capturing) }

// pod makes one of the shapes that the admission policy allows.
func (s settings) pod(node string, keep time.Duration, needs Needs) *corev1.Pod {
	volumes, mounts := s.mounts()
	spec := corev1.PodSpec{
		NodeName: node, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: "default",
		AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false), DNSPolicy: corev1.DNSDefault,
		ActiveDeadlineSeconds: new(int64(deadline.Seconds())), TerminationGracePeriodSeconds: new(int64(5)),
		Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		Volumes:     volumes,
		Containers: []corev1.Container{{
			Name: container, Image: s.image, ImagePullPolicy: corev1.PullIfNotPresent,
			Command: []string{program}, Args: []string{"node", "wait", "--keep", keep.String()},
			VolumeMounts: mounts, SecurityContext: securityContext(needs), Resources: resources(),
		}},
	}
	if s.seLinuxType != "" {
		spec.SecurityContext = &corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: s.seLinuxType}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:   needs.prefix() + rand.String(5),
			Labels: map[string]string{"app.kubernetes.io/name": "plexus", "app.kubernetes.io/component": "window"},
		},
		Spec: spec,
	}
}

// mounts gives each folder of the node once, read-only. Namespaces that are mounted later are seen too.
func (s settings) mounts() (volumes []corev1.Volume, mounts []corev1.VolumeMount) {
	dirs := append([]string{s.cniDir, s.confDir, s.binDir}, s.netnsDirs...)
	for i, dir := range dirs {
		if slices.Contains(dirs[:i], dir) {
			continue
		}
		name := fmt.Sprintf("folder-%d", i)
		mount := corev1.VolumeMount{Name: name, MountPath: HostRoot + dir, ReadOnly: true}
		if slices.Contains(s.netnsDirs, dir) {
			mount.MountPropagation = new(corev1.MountPropagationHostToContainer)
		}
		mounts = append(mounts, mount)
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}})
	}
	return volumes, mounts
}

func securityContext(needs Needs) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		Privileged: new(false), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsUser: new(int64(0)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: needs.capabilities()},
	}
}

// resources are enough for a node of some hundred sandboxes.
func resources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
	}
}

// serves reports whether a pod that is there does what a new one would: it is the same, may do at
// least as much, and lives for a minute or more.
func serves(there, wanted *corev1.Pod, now time.Time) bool {
	if there.DeletionTimestamp != nil || isFinished(there) || len(there.Spec.Containers) != 1 || there.Spec.NodeName != wanted.Spec.NodeName {
		return false
	}
	if begun := there.Status.StartTime; begun != nil && now.Sub(begun.Time) > deadline-time.Minute {
		return false
	}
	got, want := there.Spec.Containers[0], wanted.Spec.Containers[0]
	if got.SecurityContext == nil || got.SecurityContext.Capabilities == nil {
		return false
	}
	for _, capability := range want.SecurityContext.Capabilities.Add {
		if !slices.Contains(got.SecurityContext.Capabilities.Add, capability) {
			return false
		}
	}
	return there.Spec.HostNetwork && got.Image == want.Image && slices.Equal(got.Command, want.Command) && slices.Equal(got.Args, want.Args) &&
		equality.Semantic.DeepEqual(foldersOf(there), foldersOf(wanted))
}

// foldersOf gives the folders of the node that a pod has, by where it has them.
func foldersOf(pod *corev1.Pod) map[string]string {
	folders := map[string]string{}
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		for _, volume := range pod.Spec.Volumes {
			if volume.Name == mount.Name && volume.HostPath != nil {
				folders[mount.MountPath] = volume.HostPath.Path
			}
		}
	}
	return folders
}

func isFinished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func isRunning(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].State.Running != nil
}
