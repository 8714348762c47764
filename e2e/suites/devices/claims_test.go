package devices

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/types"
)

const (
	claimedResource  = "example.com/claimed"  // that the drivers publish of their devices
	extendedResource = "example.com/extended" // by which pods ask for one without a claim
)

// The devices: those of the node's driver, one that all nodes may have, and one for nodes of a
// label. The GPU is for no network.
var claimedDevices = map[string][]string{"vf": {"ethc0", "ethc1", "ethc2", "ethc3"}, "fabric": {"ethc4"}, "rack": {"ethc5"}, "gpu": {"gpu0"}}

// claimBench is a scenario with drivers of devices on its one node.
type claimBench struct {
	*cluster.Scenario
	node    *cluster.Node
	links   *links
	drivers []*driver
}

func newClaimBench(t *testing.T, mode cluster.Mode) *claimBench {
	t.Helper()
	c := cluster.New(t, cluster.Options{Nodes: 1, Plexus: mode})
	b := &claimBench{Scenario: c.Scenario(t), node: c.Node(1)}
	b.links = makeLinks(b.Scenario, b.node, slices.Concat(claimedDevices["vf"], claimedDevices["fabric"], claimedDevices["rack"]))
	for _, name := range []string{"vf", "fabric", "rack", "gpu"} {
		b.drivers = append(b.drivers, newDriver(b.Scenario, b.node, name+".example.com"))
		b.publish(name)
		b.class(name)
	}
	t.Cleanup(b.stop)
	b.grant()
	for _, d := range b.drivers {
		d.start()
	}
	config := cluster.JSON(cluster.Conf{
		"cniVersion": "1.0.0", "type": "plexus-e2e-nic",
		"ipam": cluster.Conf{"type": "host-local", "subnet": "192.168.62.0/24"},
	})
	b.MakeNAD(t, kube.NAD{Namespace: b.Namespace, Name: "nic", Config: config, Annotations: map[string]string{types.AnnotationResourceName: claimedResource}})
	b.MakeNAD(t, kube.NAD{Namespace: b.Namespace, Name: "plain", Config: config})
	return b
}

// grant gives the agents, and the node for plexus-once, the rights of the component dra. The claims
// of its pods the Node authorizer lets a kubelet read anyway.
func (b *claimBench) grant() {
	b.Helper()
	for _, file := range []string{"rbac.yaml", "admission-policy.yaml"} {
		_, err := b.Kubectl("apply", "-f", "../../../deploy/components/dra/"+file)
		b.Must(err)
	}
}

func (b *claimBench) stop() {
	for _, d := range b.drivers {
		d.stop()
	}
}

// publish publishes the devices of a driver, on the nodes that go with its name.
func (b *claimBench) publish(name string) {
	b.Helper()
	spec := resourcev1.ResourceSliceSpec{Driver: name + ".example.com", Pool: resourcev1.ResourcePool{Name: name, Generation: 1, ResourceSliceCount: 1}}
	switch name {
	case "fabric":
		spec.AllNodes = new(true)
	case "rack":
		spec.NodeSelector = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{b.node.Name}},
		}}}}
	default:
		spec.NodeName, spec.Pool.Name = &b.node.Name, b.node.Name
	}
	for _, id := range claimedDevices[name] {
		device := resourcev1.Device{Name: "dev-" + id}
		if name != "gpu" {
			device.Attributes = map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{
				types.AttributeDeviceID: {StringValue: &id}, types.AttributeResourceName: {StringValue: new(claimedResource)},
			}
		}
		spec.Devices = append(spec.Devices, device)
	}
	_, err := b.Client().ResourceV1().ResourceSlices().Create(b.Context(), &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	b.Must(err)
}

// republish publishes a node's slices again, as drivers do: a kubelet that starts removes them.
func (b *claimBench) republish(names ...string) {
	b.Helper()
	for _, name := range names {
		b.Await("the kubelet to remove the slice "+name, func() error {
			_, err := b.Client().ResourceV1().ResourceSlices().Get(b.Context(), name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return cmp.Or(err, errors.New("it is there"))
		})
		b.publish(name)
	}
}

// class makes the class of a driver's devices. Those of vf are an extended resource too.
func (b *claimBench) class(name string) {
	b.Helper()
	class := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.DeviceClassSpec{
		Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q", name+".example.com")}}},
	}}
	if name == "vf" {
		class.Spec.ExtendedResourceName = new(extendedResource)
	}
	_, err := b.Client().ResourceV1().DeviceClasses().Create(b.Context(), class, metav1.CreateOptions{})
	b.Must(err)
}

// claimSpec asks for one device of each class; the requests are named r0, r1, …
func claimSpec(classes ...string) resourcev1.ResourceClaimSpec {
	var spec resourcev1.ResourceClaimSpec
	for i, class := range classes {
		spec.Devices.Requests = append(spec.Devices.Requests, resourcev1.DeviceRequest{
			Name: fmt.Sprint("r", i), Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: class, AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1},
		})
	}
	return spec
}

func (b *claimBench) template(name string, classes ...string) {
	b.Helper()
	_, err := b.Client().ResourceV1().ResourceClaimTemplates(b.Namespace).Create(b.Context(), &resourcev1.ResourceClaimTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceClaimTemplateSpec{Spec: claimSpec(classes...)},
	}, metav1.CreateOptions{})
	b.Must(err)
}

func (b *claimBench) claim(name string, classes ...string) {
	b.Helper()
	_, err := b.Client().ResourceV1().ResourceClaims(b.Namespace).Create(b.Context(), &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claimSpec(classes...),
	}, metav1.CreateOptions{})
	b.Must(err)
}

// of gives the pod a claim of a template; named gives it one by its name; unused one that no
// container uses.
func of(template string) cluster.PodOption {
	return claims(corev1.PodResourceClaim{Name: template, ResourceClaimTemplateName: &template}, true)
}

func named(claim string) cluster.PodOption {
	return claims(corev1.PodResourceClaim{Name: "own-" + claim, ResourceClaimName: &claim}, true)
}

func unused(template string) cluster.PodOption {
	return claims(corev1.PodResourceClaim{Name: template, ResourceClaimTemplateName: &template}, false)
}

func claims(c corev1.PodResourceClaim, used bool) cluster.PodOption {
	return func(p *corev1.Pod) {
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, c)
		if used {
			own := &p.Spec.Containers[0].Resources
			own.Claims = append(own.Claims, corev1.ResourceClaim{Name: c.Name})
		}
	}
}

func extended(n int64) cluster.PodOption {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{extendedResource: *apiresource.NewQuantity(n, apiresource.DecimalSI)}
	}
}

// allocated gives the links that the claims of a pod allocate, as the API server says: claims
// and requests in order.
func (b *claimBench) allocated(p *cluster.Pod) []string {
	b.Helper()
	pod, err := p.Get()
	b.Must(err)
	var names []string
	for _, c := range pod.Spec.ResourceClaims {
		if c.ResourceClaimName != nil {
			names = append(names, *c.ResourceClaimName)
		}
		for _, s := range pod.Status.ResourceClaimStatuses {
			if s.Name == c.Name && s.ResourceClaimName != nil {
				names = append(names, *s.ResourceClaimName)
			}
		}
	}
	if e := pod.Status.ExtendedResourceClaimStatus; e != nil {
		names = append(names, e.ResourceClaimName)
	}
	var ids []string
	for _, name := range names {
		claim, err := b.Client().ResourceV1().ResourceClaims(b.Namespace).Get(b.Context(), name, metav1.GetOptions{})
		b.Must(err)
		if claim.Status.Allocation == nil {
			b.Fatalf("claim %s allocates nothing", name)
		}
		results := slices.Clone(claim.Status.Allocation.Devices.Results)
		slices.SortFunc(results, func(a, z resourcev1.DeviceRequestAllocationResult) int {
			return cmp.Or(cmp.Compare(a.Request, z.Request), cmp.Compare(a.Device, z.Device))
		})
		for _, r := range results {
			if id := strings.TrimPrefix(r.Device, "dev-"); b.links.macs[id] != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// mustHave waits for a pod, and demands that its interfaces are the devices that its claims
// allocate, in order, and that its record says of which claim each is.
func (b *claimBench) mustHave(p *cluster.Pod, interfaces ...string) {
	b.Helper()
	p.AwaitReady()
	b.mustHaveIDs(p, b.allocated(p), interfaces...)
}

// mustHaveIDs demands these devices.
func (b *claimBench) mustHaveIDs(p *cluster.Pod, ids []string, interfaces ...string) {
	b.Helper()
	p.MustHave(append([]string{"eth0"}, interfaces...)...)
	if len(ids) != len(interfaces) {
		b.Fatalf("pod %s: its claims allocate %q", p.Name, ids)
	}
	macs := map[string]string{}
	for _, i := range p.Interfaces() {
		macs[i.Name] = i.MAC
	}
	for i, name := range interfaces {
		if macs[name] != b.links.macs[ids[i]] {
			b.Errorf("pod %s: %s has %s, and its claims give it %s, which has %s", p.Name, name, macs[name], ids[i], b.links.macs[ids[i]])
		}
	}
	if recorded := recorded(b.Scenario, b.node, p, linkOf); !slices.Equal(recorded, ids) {
		b.Errorf("the record of pod %s has devices %q, want %q", p.Name, recorded, ids)
	}
	b.Logf("pod %s has %q as %q", p.Name, ids, interfaces)
}

func (b *claimBench) remove(pods ...*cluster.Pod) {
	b.Helper()
	for _, p := range pods {
		p.Delete()
	}
	for _, p := range pods {
		p.AwaitGone()
	}
}

// Pods get the devices that their claims allocate, whoever asks.
func TestE2EClaims(t *testing.T) {
	for name, mode := range map[string]cluster.Mode{"agent": cluster.WithAgent, "alone": cluster.Alone} {
		t.Run(name, func(t *testing.T) {
			b := newClaimBench(t, mode)
			b.template("one", "vf")
			b.template("two", "vf", "vf")
			b.template("mixed", "gpu", "vf")
			b.template("far", "fabric")
			b.template("near", "rack")
			b.claim("shared", "vf")
			b.ofClaims()
			b.sharedClaim()
			b.counted(mode)
			b.afterRestart()
			if mode == cluster.WithAgent {
				b.writtenBack()
				b.afterAgent()
			} else {
				b.byCheckpoint()
			}
		})
	}
}

func (b *claimBench) ofClaims() {
	b.Helper()
	template := b.Pod("template", of("one"), cluster.Networks("nic"))
	direct := b.Pod("direct", named("shared"), cluster.Networks("nic"))
	two := b.Pod("two", of("two"), cluster.Networks("nic, nic"))
	b.mustHave(template, "net0")
	b.mustHave(direct, "net0")
	b.mustHave(two, "net0", "net1")
	b.remove(template, direct, two)
	// The requests change places.
	by := b.Pod("by-request", of("two"), cluster.Networks(
		`[{"name": "plain", "interface": "first", "plexus-cni.io/claim": "two/r1"}, {"name": "plain", "interface": "second", "plexus-cni.io/claim": "two/r0"}]`))
	mixed := b.Pod("mixed", of("mixed"), cluster.Networks("nic"))
	given := b.allocated(by.AwaitReady())
	slices.Reverse(given)
	b.mustHaveIDs(by, given, "first", "second")
	b.mustHave(mixed, "net0")
	b.remove(by, mixed)
	nowhere := b.Pod("nowhere", unused("one"), cluster.Networks("nic"))
	more := b.Pod("extended", extended(1), cluster.Networks("nic"))
	b.mustHave(nowhere, "net0")
	b.mustHave(more, "net0")
	b.remove(nowhere, more)
	far := b.Pod("far", of("far"), of("near"), cluster.Networks("nic, nic"))
	b.mustHave(far, "net0", "net1")
	b.remove(far)
}

// sharedClaim gives one claim to two pods: the device is the first one's alone.
func (b *claimBench) sharedClaim() {
	b.Helper()
	first := b.Pod("first", named("shared"), cluster.Networks("nic"))
	b.mustHave(first, "net0")
	second := b.Pod("second", named("shared"), cluster.Networks("nic"))
	second.AwaitEvent("FailedCreatePodSandBox", "network "+b.Namespace+"/nic", "is in use: pod "+b.Namespace+"/first has it")
	b.remove(first)
	b.mustHave(second, "net0")
	b.remove(second)
}

// afterRestart restarts the kubelet while a pod has a device.
func (b *claimBench) afterRestart() {
	b.Helper()
	before := b.Pod("before", of("one"), cluster.Networks("nic"))
	b.mustHave(before, "net0")
	b.node.StopKubelet()
	b.Must(b.node.StartKubelet())
	b.republish("vf", "gpu")
	for _, d := range b.drivers {
		d.restart()
	}
	b.mustHave(before, "net0")
	after := b.Pod("after", of("two"), cluster.Networks("nic, nic"))
	b.mustHave(after, "net0", "net1")
	b.remove(before, after)
}

// byCheckpoint gives pods the devices of their claims by what the kubelet has noted, where its
// socket is not to be found.
func (b *claimBench) byCheckpoint() {
	b.Helper()
	hideKubelet(b.Scenario, b.node)
	noted := b.Pod("noted", of("two"), of("mixed"), cluster.Networks("nic, nic, nic"))
	b.mustHave(noted, "net0", "net1", "net2")
	b.remove(noted)
	unknown := b.Pod("unknown", cluster.On(b.node), cluster.Networks("nic"))
	unknown.AwaitEvent("FailedCreatePodSandBox", "its devices are not known", nowhere, "it does not know the pod")
	b.remove(unknown)
}
