package deploy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

type shape struct {
	edit func(*corev1.Pod, *corev1.Container)
	want string // of the policy's words
}

// The reasons of the policy, which several shapes have in common.
const (
	mayNotHave   = "a window pod may not have "
	oneHour      = "activeDeadlineSeconds of an hour at most"
	noToken      = "a window pod must have the account default"
	itsLabels    = "a window pod must have the labels"
	itsCommand   = "the command of a window pod must be"
	itsResources = "a window pod may ask for CPU"
	itsSecurity  = "the securityContext of a window pod's container"
	itsCaps      = "a window pod must drop the capabilities ALL"
	itsVolumes   = "the volumes of a window pod may be only these folders of the node: /var/lib/cni/plexus, /etc/cni/net.d, /opt/cni/bin, /run/netns"
	itsMounts    = "a window pod must mount each folder read-only"
	podSecurity  = "may set nothing in spec.securityContext"
)

// shapes are what somebody who has the Role alone might try, in order to have more.
var shapes = map[string]shape{
	"another name":               {func(p *corev1.Pod, _ *corev1.Container) { p.Name = "evil" }, "pods that are called plexus-window-, or plexus-window-capture-, and"},
	"a name that begins alike":   {func(p *corev1.Pod, _ *corev1.Container) { p.Name = "plexus-window-a1b2c-evil" }, "pods that are called plexus-window-, or plexus-window-capture-, and"},
	"a name of another kind":     {func(p *corev1.Pod, _ *corev1.Container) { p.Name = "plexus-window-trace-a1b2c" }, "pods that are called plexus-window-, or plexus-window-capture-, and"},
	"another name by the server": {func(p *corev1.Pod, _ *corev1.Container) { p.Name, p.GenerateName = "", "evil-" }, "pods that are called plexus-window-, or plexus-window-capture-, and"},
	"no labels":                  {func(p *corev1.Pod, _ *corev1.Container) { p.Labels = nil }, itsLabels},
	"the agent's labels":         {func(p *corev1.Pod, _ *corev1.Container) { p.Labels["app.kubernetes.io/component"] = "agent" }, itsLabels},
	"a label besides":            {func(p *corev1.Pod, _ *corev1.Container) { p.Labels["a"] = "b" }, itsLabels},
	"a device by annotation":     {annotated("cdi.k8s.io/x", "vendor.example/device=all"), "a window pod may not have annotations"},
	"AppArmor by annotation":     {annotated("container.apparmor.security.beta.kubernetes.io/window", "unconfined"), "a window pod may not have annotations"},
	"a finalizer":                {func(p *corev1.Pod, _ *corev1.Container) { p.Finalizers = []string{"example.com/stay"} }, mayNotHave + "metadata.finalizers"},
	"an owner":                   {owned, mayNotHave + "metadata.ownerReferences"},
	"an init container": {func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "x"}}
	}, mayNotHave + "spec.initContainers"},
	"a second container": {func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "i", Image: "x"})
	}, "must have one container"},
	"another container":    {func(_ *corev1.Pod, c *corev1.Container) { c.Name = "agent" }, "must have one container"},
	"the host's processes": {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.HostPID = true }, mayNotHave + "spec.hostPID"},
	"the host's IPC":       {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.HostIPC = true }, mayNotHave + "spec.hostIPC"},
	"one PID namespace":    {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.ShareProcessNamespace = new(true) }, mayNotHave + "spec.shareProcessNamespace"},
	"hosts": {func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"x"}}}
	}, mayNotHave + "spec.hostAliases"},
	"a hostname": {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.Hostname = "x" }, mayNotHave + "spec.hostname"},
	"name servers": {func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}}
	}, mayNotHave + "spec.dnsConfig"},
	"the pod's own network":       {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.HostNetwork = false }, "must have hostNetwork"},
	"any node":                    {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.NodeName = "" }, "must name its node"},
	"a claim of a device":         {claims, mayNotHave + "spec.resourceClaims"},
	"the agent's account":         {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.ServiceAccountName = agent }, noToken},
	"a token":                     {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.AutomountServiceAccountToken = new(true) }, noToken},
	"a token by default":          {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.AutomountServiceAccountToken = nil }, noToken},
	"no end":                      {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.ActiveDeadlineSeconds = nil }, oneHour},
	"a late end":                  {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.ActiveDeadlineSeconds = new(int64(3601)) }, oneHour},
	"it starts again":             {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.RestartPolicy = corev1.RestartPolicyAlways }, oneHour},
	"it takes long to end":        {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.TerminationGracePeriodSeconds = new(int64(86400)) }, oneHour},
	"a critical pod":              {func(p *corev1.Pod, _ *corev1.Container) { p.Spec.PriorityClassName = "system-node-critical" }, "priority class of the system"},
	"kernel settings":             {inPod(corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.shm_rmid_forced", Value: "1"}}}), podSecurity},
	"a group of files":            {inPod(corev1.PodSecurityContext{FSGroup: new(int64)}), podSecurity},
	"seccomp of the pod":          {inPod(corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}}), podSecurity},
	"AppArmor of the pod":         {inPod(corev1.PodSecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}}), podSecurity},
	"SELinux without the setting": {inPod(corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}}), podSecurity},

	"another image":             {func(_ *corev1.Pod, c *corev1.Container) { c.Image = "localhost/plexus:latest" }, "the image of a window pod must be localhost/plexus:v0.0.0-dev"},
	"another command":           {func(_ *corev1.Pod, c *corev1.Container) { c.Command = []string{"/opt/plexus/bin/plexus-agent"} }, itsCommand},
	"the image's command":       {func(_ *corev1.Pod, c *corev1.Container) { c.Command = nil }, itsCommand},
	"other arguments":           {func(_ *corev1.Pod, c *corev1.Container) { c.Args = []string{"gc", "--force", "--keep", "2m"} }, itsCommand},
	"arguments of another verb": {func(_ *corev1.Pod, c *corev1.Container) { c.Args[1] = "serve" }, itsCommand},
	"arguments of another noun": {func(_ *corev1.Pod, c *corev1.Container) { c.Args[0] = "doctor" }, itsCommand},
	"another flag":              {func(_ *corev1.Pod, c *corev1.Container) { c.Args[2] = "--kubeconfig" }, itsCommand},
	"an argument besides":       {func(_ *corev1.Pod, c *corev1.Container) { c.Args = append(c.Args, "--verbose") }, itsCommand},
	"no arguments":              {func(_ *corev1.Pod, c *corev1.Container) { c.Args = nil }, itsCommand},
	"a long wait":               {func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "61m" }, itsCommand},
	"a short wait":              {func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "9s" }, itsCommand},
	"no duration":               {func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "$(HOME)" }, itsCommand},
	"a negative wait":           {func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "-2m" }, itsCommand},
	"a variable":                {func(_ *corev1.Pod, c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "A", Value: "b"}} }, mayNotHave + "spec.containers[0].env"},
	"a secret's variable": {func(_ *corev1.Pod, c *corev1.Container) {
		c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: secretKey}}}
	}, mayNotHave + "spec.containers[0].env"},
	"all of a secret": {func(_ *corev1.Pod, c *corev1.Container) {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: secretKey.LocalObjectReference}}}
	}, mayNotHave + "spec.containers[0].envFrom"},
	"a hook": {func(_ *corev1.Pod, c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: shell}}
	}, mayNotHave + "spec.containers[0].lifecycle"},
	"a probe": {func(_ *corev1.Pod, c *corev1.Container) {
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(1)}}}
	}, mayNotHave + "spec.containers[0].readinessProbe"},
	"a port of the node": {func(_ *corev1.Pod, c *corev1.Container) {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
	}, mayNotHave + "spec.containers[0].ports"},
	"a terminal":                {func(_ *corev1.Pod, c *corev1.Container) { c.TTY = true }, mayNotHave + "spec.containers[0].tty"},
	"an input":                  {func(_ *corev1.Pod, c *corev1.Container) { c.Stdin = true }, mayNotHave + "spec.containers[0].stdin"},
	"another folder to work in": {func(_ *corev1.Pod, c *corev1.Container) { c.WorkingDir = "/host" }, mayNotHave + "spec.containers[0].workingDir"},
	"a file mounted by message": {func(_ *corev1.Pod, c *corev1.Container) { c.TerminationMessagePath = "/host/etc/cni/net.d/x" }, "may not change terminationMessagePath"},
	"a device of a plugin":      {asks("example.com/vf", "1"), itsResources},
	"huge pages":                {asks("hugepages-2Mi", "2Mi"), itsResources},
	"the node's memory":         {asks("memory", "64Gi"), itsResources},
	"the node's CPU":            {asks("cpu", "1001m"), itsResources},
	"privileged":                {secure(func(c *corev1.SecurityContext) { c.Privileged, c.AllowPrivilegeEscalation = new(true), nil }), itsSecurity},
	"escalation":                {secure(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = new(true) }), itsSecurity},
	"escalation by default":     {secure(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = nil }), itsSecurity},
	"a root that is written":    {secure(func(c *corev1.SecurityContext) { c.ReadOnlyRootFilesystem = nil }), itsSecurity},
	"another user":              {secure(func(c *corev1.SecurityContext) { c.RunAsUser = new(int64(1)) }), itsSecurity},
	"another group":             {secure(func(c *corev1.SecurityContext) { c.RunAsGroup = new(int64(1)) }), itsSecurity},
	"no seccomp":                {secure(func(c *corev1.SecurityContext) { c.SeccompProfile = nil }), itsSecurity},
	"seccomp that lets all":     {secure(func(c *corev1.SecurityContext) { c.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined }), itsSecurity},
	"seccomp from a file": {secure(func(c *corev1.SecurityContext) {
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: new("x")}
	}), itsSecurity},
	"AppArmor that lets all": {secure(func(c *corev1.SecurityContext) {
		c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}), itsSecurity},
	"SELinux of the container":   {secure(func(c *corev1.SecurityContext) { c.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t"} }), itsSecurity},
	"no security context":        {func(_ *corev1.Pod, c *corev1.Container) { c.SecurityContext = nil }, itsSecurity},
	"SYS_ADMIN alone":            {capable("SYS_ADMIN"), itsCaps},
	"no capability":              {capable(), itsCaps},
	"all capabilities":           {capable("NET_ADMIN", "ALL"), itsCaps},
	"capabilities by two names":  {capable("NET_ADMIN", "CAP_NET_RAW"), itsCaps},
	"capabilities that are kept": {secure(func(c *corev1.SecurityContext) { c.Capabilities.Drop = nil }), itsCaps},

	"the node's root":     {func(p *corev1.Pod, _ *corev1.Container) { mount(p, "x", "/") }, itsVolumes},
	"containerd's socket": {func(p *corev1.Pod, _ *corev1.Container) { mount(p, "x", "/run/containerd") }, itsVolumes},
	"a folder above":      {func(p *corev1.Pod, _ *corev1.Container) { mount(p, "x", "/var/lib/cni") }, itsVolumes},
	"a folder below":      {func(p *corev1.Pod, _ *corev1.Container) { mount(p, "x", "/etc/cni/net.d/x") }, itsVolumes},
	"a file in place": {func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.Volumes[0].HostPath.Type = new(corev1.HostPathFileOrCreate)
	}, itsVolumes},
	"a secret":                 {volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}), itsVolumes},
	"a token by projection":    {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}}), itsVolumes},
	"a ConfigMap":              {volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: secretKey.LocalObjectReference}}), itsVolumes},
	"an empty folder":          {volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}), itsVolumes},
	"a folder that is written": {mounted(func(m *corev1.VolumeMount) { m.ReadOnly = false }), itsMounts},
	"a part of a folder":       {mounted(func(m *corev1.VolumeMount) { m.SubPath = "x" }), itsMounts},
	"a folder at another path": {mounted(func(m *corev1.VolumeMount) { m.MountPath = "/opt/plexus/bin" }), itsMounts},
	"one folder as another": {func(_ *corev1.Pod, c *corev1.Container) {
		c.VolumeMounts[0].MountPath, c.VolumeMounts = "/host/run/netns", c.VolumeMounts[:3]
	}, itsMounts},
	"a folder at another's": {mounted(func(m *corev1.VolumeMount) { m.MountPath = "/host/run/other" }), itsMounts},
}

var (
	secretKey = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}, Key: "k"}
	shell     = &corev1.ExecAction{Command: []string{"/bin/sh"}}
)

func annotated(key, value string) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, _ *corev1.Container) { p.Annotations = map[string]string{key: value} }
}

func owned(p *corev1.Pod, _ *corev1.Container) {
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: agent, UID: "1"}}
}

func claims(p *corev1.Pod, c *corev1.Container) {
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "x", ResourceClaimName: new("x")}}
	c.Resources.Claims = []corev1.ResourceClaim{{Name: "x"}}
}

func inPod(context corev1.PodSecurityContext) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, _ *corev1.Container) { p.Spec.SecurityContext = &context }
}

func secure(edit func(*corev1.SecurityContext)) func(*corev1.Pod, *corev1.Container) {
	return func(_ *corev1.Pod, c *corev1.Container) { edit(c.SecurityContext) }
}

func capable(add ...corev1.Capability) func(*corev1.Pod, *corev1.Container) {
	return secure(func(c *corev1.SecurityContext) { c.Capabilities.Add = add })
}

func asks(name corev1.ResourceName, quantity string) func(*corev1.Pod, *corev1.Container) {
	return func(_ *corev1.Pod, c *corev1.Container) {
		c.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("5m"), name: resource.MustParse(quantity)}
		c.Resources.Limits = corev1.ResourceList{name: resource.MustParse(quantity)}
	}
}

func volume(source corev1.VolumeSource) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x", VolumeSource: source})
	}
}

func mounted(edit func(*corev1.VolumeMount)) func(*corev1.Pod, *corev1.Container) {
	return func(_ *corev1.Pod, c *corev1.Container) { edit(&c.VolumeMounts[0]) }
}

// TestKubeDeployWindowRefuses creates each shape, as somebody who has the Role alone, and as somebody who may
// also capture.
func TestKubeDeployWindowRefuses(t *testing.T) {
	s := newWindowSite(t)
	capturer := s.mayCapture(t, "bob")
	for name, test := range shapes {
		t.Run(name, func(t *testing.T) {
			pod := windowPod(s.config)
			test.edit(pod, &pod.Spec.Containers[0])
			for who, client := range map[string]kubernetes.Interface{"with the Role alone": s.oncall, "who may capture": capturer} {
				if err := create(t.Context(), client, pod); !deniedBy(windowPolicy, test.want)(err) {
					t.Errorf("somebody %s: got %v, want a denial that says %q", who, err, test.want)
				}
			}
		})
	}
}
