package windowpod

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// data is a ConfigMap of a node whose folders are not the usual ones.
var data = map[string]string{
	"image": "localhost/plexus:v1", "cniDir": "/data/cni/plexus", "confDir": "/data/net.d", "binDir": "/data/bin",
	"netnsDirs": "/run/netns, /var/run/docker/netns",
}

func settingsFrom(t *testing.T, more map[string]string) settings {
	t.Helper()
	changed := map[string]string{}
	for _, from := range []map[string]string{data, more} {
		for key, value := range from {
			changed[key] = value
		}
	}
	s, err := settingsOf(changed)
	check.Must(t, err)
	return s
}

func TestSettings(t *testing.T) {
	check.Equal(t, "folders", settingsFrom(t, nil).folders(), stream.Folders{
		State: "/data/cni/plexus/plexus", NetNS: []string{"/run/netns", "/var/run/docker/netns"}, ConfDir: "/data/net.d", BinDir: "/data/bin",
	})
	check.Equal(t, "folders of namespaces that are not said", settingsFrom(t, map[string]string{"netnsDirs": ""}).netnsDirs, []string{"/run/netns"})
	for key, value := range map[string]string{"image": "", "cniDir": "", "confDir": "etc", "binDir": ".", "netnsDirs": "run"} {
		changed := map[string]string{}
		for k, v := range data {
			changed[k] = v
		}
		changed[key] = value
		_, err := settingsOf(changed)
		check.Error(t, err, "ConfigMap plexus-window is not complete", key)
		check.Equal(t, "the error is of settings", errors.Is(err, errSettings), true)
	}
}

const page = "../../docs/window.md"

// The page has the pod word for word, as it is made by the manifests' settings.
func TestPod(t *testing.T) {
	pod := settingsFrom(t, map[string]string{
		"image": "localhost/plexus:v0.0.0-dev", "cniDir": "/var/lib/cni/plexus", "confDir": "/etc/cni/net.d", "binDir": "/opt/cni/bin", "netnsDirs": "/run/netns",
	}).pod("node1", DefaultKeep, Full)
	if !regexp.MustCompile(`^plexus-window-[a-z0-9]{5}$`).MatchString(pod.Name) {
		t.Errorf("its name is %s", pod.Name)
	}
	pod.Name = "plexus-window-x7k2p"
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	text, err := yaml.Marshal(pod)
	check.Must(t, err)
	said, err := os.ReadFile(page)
	check.Must(t, err)
	before, rest, found := strings.Cut(string(said), "```yaml\n")
	_, after, ended := strings.Cut(rest, "```\n")
	check.Equal(t, "the page has a pod", found && ended, true)
	check.Golden(t, page, []byte(before+"```yaml\n"+strings.TrimSuffix(string(text), "status: {}\n")+"```\n"+after))
}

// Each of the needs has a shape of its own. One that captures is told by its name.
func TestPodNeeds(t *testing.T) {
	for needs, want := range map[Needs]struct {
		name string
		add  []corev1.Capability
	}{
		Brief: {`^plexus-window-[a-z0-9]{5}$`, []corev1.Capability{"NET_ADMIN"}},
		Full:  {`^plexus-window-[a-z0-9]{5}$`, []corev1.Capability{"NET_ADMIN", "SYS_ADMIN"}},
		Watch: {`^plexus-window-capture-[a-z0-9]{5}$`, []corev1.Capability{"NET_ADMIN", "SYS_ADMIN", "NET_RAW"}},
		Why:   {`^plexus-window-capture-[a-z0-9]{5}$`, []corev1.Capability{"NET_ADMIN", "SYS_ADMIN", "NET_RAW", "BPF", "PERFMON"}},
	} {
		pod := settingsFrom(t, nil).pod("node1", time.Minute, needs)
		security := pod.Spec.Containers[0].SecurityContext.Capabilities
		check.Equal(t, fmt.Sprintf("capabilities that are added for %d", needs), security.Add, want.add)
		check.Equal(t, "capabilities that are dropped", security.Drop, []corev1.Capability{"ALL"})
		if !regexp.MustCompile(want.name).MatchString(pod.Name) {
			t.Errorf("its name is %s, want %s", pod.Name, want.name)
		}
	}
}

func TestPodSettings(t *testing.T) {
	brief := settingsFrom(t, nil).pod("node1", time.Minute, Brief)
	check.Equal(t, "arguments", brief.Spec.Containers[0].Args, []string{"node", "wait", "--keep", "1m0s"})
	check.Equal(t, "context without a type", brief.Spec.SecurityContext == nil, true)
	typed := settingsFrom(t, map[string]string{"seLinuxType": "spc_t"}).pod("node1", time.Minute, Brief)
	check.Equal(t, "type of SELinux", typed.Spec.SecurityContext.SELinuxOptions.Type, "spc_t")
}

// A folder that is named twice is mounted once: the API refuses two mounts of one path.
func TestPodMountsOnce(t *testing.T) {
	pod := settingsFrom(t, map[string]string{"confDir": "/data/bin", "netnsDirs": "/run/netns,/run/netns"}).pod("node1", time.Minute, Brief)
	check.Equal(t, "folders", foldersOf(pod), map[string]string{
		"/host/data/cni/plexus": "/data/cni/plexus", "/host/data/bin": "/data/bin", "/host/run/netns": "/run/netns",
	})
	check.Equal(t, "mounts", len(pod.Spec.Containers[0].VolumeMounts), 3)
}

func TestCheckKeep(t *testing.T) {
	for keep, ok := range map[time.Duration]bool{
		10 * time.Second: true, 2 * time.Minute: true, time.Hour: true,
		9 * time.Second: false, time.Hour + time.Second: false, 10*time.Second + time.Millisecond: false, -time.Minute: false,
	} {
		check.Equal(t, keep.String(), CheckKeep(keep) == nil, ok)
	}
}

// running is what the kubelet says of a pod that runs.
func running(pod *corev1.Pod, begun time.Time) {
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: begun},
		ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
	}
}

func TestServes(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		needs  Needs
		want   bool
	}{
		"the same":                     {func(*corev1.Pod) {}, Full, true},
		"more than is needed":          {func(*corev1.Pod) {}, Brief, true},
		"not started yet":              {func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }, Full, true},
		"less than is needed":          {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = securityContext(Brief) }, Full, false},
		"without capabilities":         {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = nil }, Brief, false},
		"that captures":                {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = securityContext(Watch) }, Full, true},
		"with the kernel's reasons":    {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = securityContext(Why) }, Watch, true},
		"that does not capture":        {func(*corev1.Pod) {}, Watch, false},
		"without the kernel's reasons": {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = securityContext(Watch) }, Why, false},
		"of another node":              {func(p *corev1.Pod) { p.Spec.NodeName = "node2" }, Full, false},
		"of another image":             {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "localhost/plexus:v0" }, Full, false},
		"of another command":           {func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"sh"} }, Full, false},
		"kept for another time":        {func(p *corev1.Pod) { p.Spec.Containers[0].Args[3] = "1h0m0s" }, Full, false},
		"of other folders":             {func(p *corev1.Pod) { p.Spec.Volumes[0].HostPath.Path = "/etc" }, Full, false},
		"in a network of its own":      {func(p *corev1.Pod) { p.Spec.HostNetwork = false }, Full, false},
		"with another container":       {func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{}) }, Full, false},
		"that has ended":               {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, Full, false},
		"that failed":                  {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, Full, false},
		"that is being deleted":        {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }, Full, false},
		"at the end of its life":       {func(p *corev1.Pod) { running(p, now.Add(-deadline+30*time.Second)) }, Full, false},
		"shortly before the end of it": {func(p *corev1.Pod) { running(p, now.Add(-deadline+2*time.Minute)) }, Full, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := settingsFrom(t, nil)
			there := s.pod("node1", DefaultKeep, Full)
			running(there, now)
			tc.change(there)
			check.Equal(t, "it serves", serves(there, s.pod("node1", DefaultKeep, tc.needs), now), tc.want)
		})
	}
}
