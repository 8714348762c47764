package sriov

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// The pods of the claims, and the network that their VFs are for.
const (
	claimDriver  = "sriov.example.com"
	claimAccount = "plexus-guest"
	claimNetwork = "claimed"
)

// claimPods are the pods, each with the device that its claim allocates.
var claimPods = map[string]string{"claims-one": "vf-one", "claims-two": "vf-two"}

// VFs that claims allocate go to the interfaces of pods, to the wire and back, and the claims say
// so. The API server is real, and on this side; so are the claims. Nobody is asked but it.
func TestE2EGuestSRIOVClaims(t *testing.T) {
	c := kube.Shared(t)
	check.Must(t, c.ApplyNADCRD(t.Context()))
	c.MakeNode(t, nodeName)
	c.MakeNAD(t, kube.NAD{Namespace: "default", Name: claimNetwork, Config: fast(t), Annotations: map[string]string{types.AnnotationResourceName: resource}})
	for pod, device := range claimPods {
		makeClaimed(t, c, pod, device)
	}
	t.Setenv(accessVar, claimAccess(t, c))
	guest.Run(t, guest.Options{
		Run: "^TestGuestClaims", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", accessVar}, NICs: 2, Timeout: bootLimit,
		QEMU: []string{"-netdev", "user,id=host", "-device", "virtio-net-pci,netdev=host,romfile="},
	})
	for pod, device := range claimPods {
		checkWritten(t, c, pod, device)
	}
}

// makeClaimed makes a pod with a claim, which allocates a device on the guest.
func makeClaimed(t *testing.T, c *kube.Cluster, pod, device string) {
	t.Helper()
	ctx, claims := t.Context(), c.Client().ResourceV1().ResourceClaims("default")
	claim, err := claims.Create(ctx, &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: pod}, Spec: resourcev1.ResourceClaimSpec{
		Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "port", Exactly: &resourcev1.ExactDeviceRequest{
			DeviceClassName: "vf", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1,
		}}}},
	}}, metav1.CreateOptions{})
	check.Must(t, err)
	claim.Status.Allocation = &resourcev1.AllocationResult{
		Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{
			{Request: "port", Driver: claimDriver, Pool: nodeName, Device: device},
		}},
		NodeSelector: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{nodeName}},
		}}}},
	}
	_, err = claims.UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	check.Must(t, err)
	_, err = c.Client().CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod, Annotations: map[string]string{types.AnnotationNetworks: claimNetwork}},
		Spec: corev1.PodSpec{
			NodeName: nodeName, Containers: []corev1.Container{{Name: "c", Image: "none", Resources: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "uplink"}}}}},
			ResourceClaims: []corev1.PodResourceClaim{{Name: "uplink", ResourceClaimName: &pod}},
		},
	}, metav1.CreateOptions{})
	check.Must(t, err)
}

// claimAccess makes a folder with the kubeconfig of an account with the rights of an agent, and
// with those of a driver: only the guest knows the addresses of its VFs.
func claimAccess(t *testing.T, c *kube.Cluster) string {
	t.Helper()
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	const resources = "resource.k8s.io"
	meta := metav1.ObjectMeta{Name: claimAccount}
	_, err := c.Client().RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		rule("", "pods", "get"), rule("", "pods/status", "patch"), rule("", "events", "create", "patch"), rule("k8s.cni.cncf.io", "network-attachment-definitions", "get"),
		rule(resources, "resourceslices", "list", "create", "delete"), rule(resources, "resourceclaims", "get"), rule(resources, "resourceclaims/status", "patch"),
		rule(resources, "resourceclaims/driver", "arbitrary-node:patch"), // the token is of no pod of the node
	}}, metav1.CreateOptions{})
	check.Must(t, err)
	_, err = c.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: claimAccount},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: claimAccount}},
	}, metav1.CreateOptions{})
	check.Must(t, err)
	token, err := c.ServiceAccountToken(t.Context(), "default", claimAccount, nil)
	check.Must(t, err)
	return writeAccess(t, c, func(config *clientcmdapi.Config) {
		for name := range config.AuthInfos {
			config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
		}
	})
}

// checkWritten demands that a claim says of its device what the status of the pod says of net0.
func checkWritten(t *testing.T, c *kube.Cluster, pod, device string) {
	t.Helper()
	object, err := c.Client().CoreV1().Pods("default").Get(t.Context(), pod, metav1.GetOptions{})
	check.Must(t, err)
	var status []types.NetworkStatus
	check.Must(t, json.Unmarshal([]byte(object.Annotations[types.AnnotationNetworkStatus]), &status))
	claim, err := c.Client().ResourceV1().ResourceClaims("default").Get(t.Context(), pod, metav1.GetOptions{})
	check.Must(t, err)
	if len(status) != 2 || len(claim.Status.Devices) != 1 || claim.Status.Devices[0].NetworkData == nil {
		t.Fatalf("pod %s: network-status %+v, devices of the claim %+v", pod, status, claim.Status.Devices)
	}
	net0, data := status[1], claim.Status.Devices[0].NetworkData
	got := fmt.Sprint(claim.Status.Devices[0].Device, " ", data.InterfaceName, " ", data.HardwareAddress, " ", data.IPs)
	want := fmt.Sprint(device, " ", net0.Interface, " ", net0.MAC, " [", net0.IPs[0], "/24]")
	t.Logf("claim %s: %s", pod, got)
	if got != want || net0.DeviceInfo == nil || net0.DeviceInfo.PCI == nil {
		t.Errorf("claim %s says %s, and the pod has %s, device-info %+v", pod, got, want, net0.DeviceInfo)
	}
}

// publishVFs does what a driver does: it publishes a VF of each NIC. The first has an ID of its
// own beside its address.
func (l *lab) publishVFs() {
	l.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(os.Getenv(accessVar), "kubeconfig"))
	check.Must(l.t, err)
	client, err := kubernetes.NewForConfig(config)
	check.Must(l.t, err)
	device := func(name string, texts map[resourcev1.QualifiedName]string) resourcev1.Device {
		d := resourcev1.Device{Name: name, Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{types.AttributeResourceName: {StringValue: new(resource)}}}
		for key, value := range texts {
			d.Attributes[key] = resourcev1.DeviceAttribute{StringValue: &value}
		}
		return d
	}
	slices, name := client.ResourceV1().ResourceSlices(), nodeName
	_, err = slices.Create(l.t.Context(), &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceSliceSpec{
		Driver: claimDriver, NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, Generation: 1, ResourceSliceCount: 1},
		Devices: []resourcev1.Device{
			device("vf-one", map[resourcev1.QualifiedName]string{types.AttributeDeviceID: l.vf(pf0, 1)}),
			device("vf-two", map[resourcev1.QualifiedName]string{types.AttributePCIAddress: l.vf(pf1, 1)}),
		},
	}}, metav1.CreateOptions{})
	check.Must(l.t, err)
}

// Two pods with a VF each, of two NICs, by claims.
func TestGuestClaims(t *testing.T) {
	l := newLab(t)
	l.reachAPI()
	l.publishVFs()
	config := conf{
		"cniVersion": "1.1.0", "name": "cluster", "type": "plexus", "agentSocket": "", "cniDir": "/var/lib/cni", "result": "all",
		"kubeconfig":         filepath.Join(os.Getenv(accessVar), "kubeconfig"),
		"podResourcesSocket": "", "deviceCheckpoint": "",
		"delegates": l.plexusConfig(nil)["delegates"],
	}
	before := l.snapshot()
	one, two := l.netns("claims-one"), l.netns("claims-two")
	l.must(plexus("ADD", one), config)
	l.must(plexus("ADD", two), config)
	for pod, device := range map[string]string{one: l.vf(pf0, 1), two: l.vf(pf1, 1)} {
		if parent := named(t, l.links(pod), "net0").Parent; parent != device {
			t.Errorf("net0 of %s is %s, want %s", pod, parent, device)
		}
	}
	check.Eventually(t, "a ping over the wire", patience, func() bool { return ping(one, "10.9.0.3") == nil })
	check.Eventually(t, "a ping back", patience, func() bool { return ping(two, "10.9.0.2") == nil })
	for _, pod := range []string{one, two} {
		l.must(plexus("CHECK", pod), config.with(conf{"prevResult": conf{"cniVersion": "1.1.0", "interfaces": []conf{}}}))
		l.must(plexus("DEL", pod), config)
	}
	l.mustBe(before, "after DEL")
}
