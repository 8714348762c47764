package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/plexus-cni/plexus/k8sclient"
	plexus "github.com/plexus-cni/plexus/types"
)

const (
	draName    = "plexus-agent-dra"
	nicDriver  = "nic.example.com"
	gpuDriver  = "gpu.example.com"
	draDevice  = "vf-1"
	someShare  = "5a1ad6ff-3a3b-4d0a-8ac1-0d8e8b4c3a11"
	draMessage = "may change nothing of a claim's status but devices"
)

// claimSite is a site whose agent of node a may write claims.
type claimSite struct {
	*site
	client *k8sclient.Client // with the token of the agent's pod
}

func newClaimSite(t *testing.T) *claimSite {
	t.Helper()
	s := &claimSite{site: newSite(t)}
	t.Cleanup(func() { s.withoutClaims(t) })
	pod, err := s.Client().CoreV1().Pods(namespace).Get(t.Context(), "agent-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.client = s.clientOf(t, pod)
	return s
}

func (s *claimSite) clientOf(t *testing.T, pod *corev1.Pod) *k8sclient.Client {
	t.Helper()
	token, err := s.ServiceAccountToken(t.Context(), namespace, agent, pod)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, _, err := s.TokenKubeconfig(token)
	if err != nil {
		t.Fatal(err)
	}
	client, err := k8sclient.New(k8sclient.Options{Kubeconfig: kubeconfig, NodeName: "a", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// grant applies the component, with the right to the devices of these drivers alone if any is named.
func (s *claimSite) grant(t *testing.T, drivers ...string) {
	t.Helper()
	to := newServer(t, s.Cluster)
	for _, object := range kustomize(t, overlays["dra"].dir) {
		if object.GetName() != draName {
			continue
		}
		if err := to.apply(t, object, false); err != nil {
			t.Fatalf("apply %s: %v", object.GetKind(), err)
		}
	}
	if len(drivers) == 0 {
		return
	}
	roles := s.Client().RbacV1().ClusterRoles()
	role, err := roles.Get(t.Context(), draName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules[len(role.Rules)-1].ResourceNames = drivers
	if _, err := roles.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// withoutClaims takes the rights away from the cluster, which other tests share.
func (s *claimSite) withoutClaims(t *testing.T) {
	ctx, policies := context.WithoutCancel(t.Context()), s.Client().AdmissionregistrationV1()
	for _, remove := range []func(context.Context, string, metav1.DeleteOptions) error{
		s.Client().RbacV1().ClusterRoleBindings().Delete, s.Client().RbacV1().ClusterRoles().Delete,
		policies.ValidatingAdmissionPolicyBindings().Delete, policies.ValidatingAdmissionPolicies().Delete,
	} {
		if err := remove(ctx, draName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.agent.ResourceV1().ResourceClaims("policy").Get(ctx, "none", metav1.GetOptions{})
		return apierrors.IsForbidden(err), nil
	})
	if err != nil {
		t.Errorf("the right is not gone: %v", err)
	}
}

// claim makes a claim whose devices are allocated on a node; "" is for no node in particular.
func (s *claimSite) claim(t *testing.T, name, node string, results ...resourcev1.DeviceRequestAllocationResult) {
	t.Helper()
	claims, ctx := s.Client().ResourceV1().ResourceClaims("policy"), context.WithoutCancel(t.Context())
	made, err := claims.Create(ctx, &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
			{Name: "nic", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "nic", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = claims.Delete(ctx, name, metav1.DeleteOptions{}) })
	if len(results) == 0 {
		return
	}
	made.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: results}}
	if node != "" {
		made.Status.Allocation.NodeSelector = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}
	}
	if _, err := claims.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func allocated(driver string) resourcev1.DeviceRequestAllocationResult {
	return resourcev1.DeviceRequestAllocationResult{Request: "nic", Driver: driver, Pool: "a", Device: draDevice}
}

func (s *claimSite) read(t *testing.T, name string) *resourcev1.ResourceClaim {
	t.Helper()
	claim, err := s.Client().ResourceV1().ResourceClaims("policy").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func partOf(claim, driver string) plexus.ClaimPart {
	return plexus.ClaimPart{Namespace: "policy", Claim: claim, Driver: driver, Pool: "a", Device: draDevice}
}

func said(part plexus.ClaimPart) *plexus.ClaimStatus {
	return &plexus.ClaimStatus{
		Part: part, Pod: "policy/own", Interface: "net0",
		IPs: []string{"10.0.0.1/24", "2001:db8::1/64"}, MAC: "02:00:00:00:00:01", Attached: time.Unix(1000, 0),
	}
}

// write applies what the agent says of the device of a driver.
func (s *claimSite) write(t *testing.T, claim, driver string) error {
	t.Helper()
	part := partOf(claim, driver)
	return s.client.ApplyClaimStatus(t.Context(), part, said(part))
}

func (s *claimSite) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return is(), nil
	}); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestKubeDeployClaimsRefused has none of the rights, and then all but one.
func TestKubeDeployClaimsRefused(t *testing.T) {
	s := newClaimSite(t)
	s.claim(t, "refused", "a", allocated(nicDriver), allocated(gpuDriver))
	if err := s.write(t, "refused", nicDriver); !errors.Is(err, k8sclient.ErrClaimRefused) || !strings.Contains(err.Error(), "403") {
		t.Errorf("without any right: %v", err)
	}
	s.grant(t, nicDriver)
	s.await(t, "the driver's right", func() bool { return s.write(t, "refused", nicDriver) == nil })
	err := s.write(t, "refused", gpuDriver)
	if !errors.Is(err, k8sclient.ErrClaimRefused) || !strings.Contains(err.Error(), "resourceclaims/driver") {
		t.Errorf("the devices of another driver: %v", err)
	}
	devices := s.read(t, "refused").Status.Devices
	if len(devices) != 1 || devices[0].Driver != nicDriver {
		t.Errorf("the claim says %+v", devices)
	}
	status := []plexus.NetworkStatus{{Name: "n", Interface: "net0"}}
	if settled, err := s.client.PublishStatus(t.Context(), plexus.Pod{Namespace: "policy", Name: "own", UID: string(s.own.UID)}, status); err != nil || !settled {
		t.Errorf("the status of the pod: %v %v", settled, err)
	}
}

// TestKubeDeployClaims writes a claim, and takes out what it wrote.
func TestKubeDeployClaims(t *testing.T) {
	s := newClaimSite(t)
	s.grant(t)
	s.claim(t, "own", "a", allocated(nicDriver), allocated(gpuDriver))
	s.await(t, "the right", func() bool { return s.write(t, "own", nicDriver) == nil })
	want := []resourcev1.AllocatedDeviceStatus{{
		Driver: nicDriver, Pool: "a", Device: draDevice,
		NetworkData: &resourcev1.NetworkDeviceData{InterfaceName: "net0", IPs: []string{"10.0.0.1/24", "2001:db8::1/64"}, HardwareAddress: "02:00:00:00:00:01"},
		Conditions: []metav1.Condition{{
			Type: k8sclient.ConditionAttached, Status: metav1.ConditionTrue, Reason: "Attached",
			Message: "pod policy/own has it as interface net0", LastTransitionTime: metav1.Unix(1000, 0),
		}},
	}}
	before := s.read(t, "own")
	if diff := gocmp.Diff(want, before.Status.Devices); diff != "" {
		t.Error(diff)
	}
	if err := s.write(t, "own", nicDriver); err != nil || s.read(t, "own").ResourceVersion != before.ResourceVersion {
		t.Errorf("the same again changes the claim: %v", err)
	}
	if err := s.write(t, "own", gpuDriver); err != nil || len(s.read(t, "own").Status.Devices) != 2 {
		t.Errorf("a second driver: %v, %+v", err, s.read(t, "own").Status.Devices)
	}
	if err := s.client.ApplyClaimStatus(t.Context(), partOf("own", nicDriver), nil); err != nil {
		t.Fatal(err)
	}
	after := s.read(t, "own")
	if len(after.Status.Devices) != 1 || after.Status.Devices[0].Driver != gpuDriver {
		t.Errorf("what is left: %+v", after.Status.Devices)
	}
	if slices.ContainsFunc(after.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return strings.Contains(f.Manager, nicDriver) }) {
		t.Errorf("it still manages fields: %+v", after.ManagedFields)
	}
	s.checkTwoDevices(t)
	s.checkClaimsOfOthers(t)
	s.checkDriver(t)
	s.checkPolicy(t)
}

// checkTwoDevices writes two devices of one driver, and takes one of them out.
func (s *claimSite) checkTwoDevices(t *testing.T) {
	t.Helper()
	second := allocated(nicDriver)
	second.Device = "second"
	s.claim(t, "two", "a", allocated(nicDriver), second)
	other := partOf("two", nicDriver)
	other.Device = "second"
	if err := errors.Join(s.write(t, "two", nicDriver), s.client.ApplyClaimStatus(t.Context(), other, said(other)), s.client.ApplyClaimStatus(t.Context(), partOf("two", nicDriver), nil)); err != nil {
		t.Error(err)
	}
	if left := s.read(t, "two").Status.Devices; len(left) != 1 || left[0].Device != "second" || left[0].NetworkData == nil {
		t.Errorf("of two devices of a driver are left: %+v", left)
	}
}

// checkClaimsOfOthers writes claims that are not of the agent's node, or not what it takes them for.
func (s *claimSite) checkClaimsOfOthers(t *testing.T) {
	t.Helper()
	share := allocated(nicDriver)
	share.ShareID = (*types.UID)(new(string))
	*share.ShareID = someShare
	s.claim(t, "elsewhere", "b", allocated(nicDriver))
	s.claim(t, "anywhere", "", allocated(nicDriver))
	s.claim(t, "deallocated", "a")
	s.claim(t, "shared", "a", share)
	for claim, want := range map[string]error{
		"elsewhere": k8sclient.ErrClaimRefused, "anywhere": k8sclient.ErrClaimRefused,
		"deallocated": k8sclient.ErrClaimGone, "none": k8sclient.ErrClaimGone,
		"shared": k8sclient.ErrClaimGone, // by what it says, it has no share
	} {
		if err := s.write(t, claim, nicDriver); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", claim, err, want)
		}
	}
	ofShare := partOf("shared", nicDriver)
	ofShare.ShareID = someShare
	if err := s.client.ApplyClaimStatus(t.Context(), ofShare, said(ofShare)); err != nil || len(s.read(t, "shared").Status.Devices) != 1 {
		t.Errorf("a share: %v", err)
	}
	unbound := s.clientOf(t, nil)
	if err := unbound.ApplyClaimStatus(t.Context(), ofShare, nil); !errors.Is(err, k8sclient.ErrClaimRefused) {
		t.Errorf("a token that is bound to no pod: %v", err)
	}
	kubeconfig, err := s.NodeKubeconfig("a")
	if err != nil {
		t.Fatal(err)
	}
	node, err := k8sclient.New(k8sclient.Options{Kubeconfig: kubeconfig, NodeName: "a", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.ApplyClaimStatus(t.Context(), ofShare, nil); !errors.Is(err, k8sclient.ErrClaimRefused) || !strings.Contains(err.Error(), "403") {
		t.Errorf("the kubelet's credentials: %v", err)
	}
}

// checkDriver has the driver write the status of its devices as well.
func (s *claimSite) checkDriver(t *testing.T) {
	t.Helper()
	apply := func(claim string, device map[string]any) {
		device["driver"], device["pool"], device["device"] = nicDriver, "a", draDevice
		body, err := json.Marshal(map[string]any{
			"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": map[string]string{"name": claim},
			"status": map[string]any{"devices": []any{device}},
		})
		if err != nil {
			t.Fatal(err)
		}
		options := metav1.PatchOptions{FieldManager: "driver"}
		if _, err := s.Client().ResourceV1().ResourceClaims("policy").Patch(t.Context(), claim, types.ApplyPatchType, body, options, "status"); err != nil {
			t.Fatal(err)
		}
	}
	s.claim(t, "written", "a", allocated(nicDriver))
	apply("written", map[string]any{"networkData": map[string]any{"interfaceName": "its-own"}})
	before := s.read(t, "written").Status
	if err := s.write(t, "written", nicDriver); !errors.Is(err, k8sclient.ErrClaimOwned) {
		t.Errorf("networkData of the driver: %v", err)
	}
	if diff := gocmp.Diff(before, s.read(t, "written").Status); diff != "" {
		t.Errorf("the driver's status changed:\n%s", diff)
	}
	s.claim(t, "ready", "a", allocated(nicDriver))
	apply("ready", map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}}})
	before = s.read(t, "ready").Status
	if err := s.write(t, "ready", nicDriver); err != nil || len(s.read(t, "ready").Status.Devices[0].Conditions) != 2 {
		t.Errorf("beside a condition of the driver: %v", err)
	}
	if err := s.client.ApplyClaimStatus(t.Context(), partOf("ready", nicDriver), nil); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(before, s.read(t, "ready").Status); diff != "" {
		t.Errorf("what the driver wrote is not left as it was:\n%s", diff)
	}
}

// checkPolicy gives the agent the scheduler's right, as API servers do that know no right to bind.
func (s *claimSite) checkPolicy(t *testing.T) {
	t.Helper()
	ctx, roles := context.WithoutCancel(t.Context()), s.Client().RbacV1().ClusterRoles()
	role, err := roles.Get(ctx, draName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"resource.k8s.io"}, Resources: []string{"resourceclaims/binding"}, Verbs: []string{"patch"}})
	if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.claim(t, "bound", "a", allocated(nicDriver))
	body := []byte(`{"status":{"reservedFor":[{"resource":"pods","name":"own","uid":"` + string(s.own.UID) + `"}]}}`)
	s.await(t, "the policy", func() bool {
		options := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}} // until it is in force
		_, err := s.agent.ResourceV1().ResourceClaims("policy").Patch(ctx, "bound", types.MergePatchType, body, options, "status")
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), draMessage)
	})
	if err := s.write(t, "bound", nicDriver); err != nil {
		t.Errorf("under the policy: %v", err)
	}
}
