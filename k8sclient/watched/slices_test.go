package watched

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const (
	sliceList = `{"kind":"ResourceSliceList","apiVersion":"resource.k8s.io/v1","metadata":{"resourceVersion":"5"},"items":[%s]}`
	aSlice    = `{"kind":"ResourceSlice","apiVersion":"resource.k8s.io/v1","metadata":{"name":%q,"resourceVersion":"3"},
		"spec":{"driver":%q,"pool":{"name":%q,"generation":%d,"resourceSliceCount":1},"devices":[{"name":"vf","attributes":{"k8s.cni.cncf.io/deviceID":{"string":%q}}},{"name":"gpu"}]}}`

	ofNode  = KindSlices + " spec.nodeName=node-1"
	ofDrive = KindSlices + " spec.driver=far,spec.nodeName="
)

func sliceJSON(driver, pool string, generation int, id string) string {
	return fmt.Sprintf(aSlice, driver+"-"+pool, driver, pool, generation, id)
}

func slicesAsked(s *apiServer) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(func(yield func(string) bool) {
		for kind := range maps.Keys(s.queries) {
			if strings.HasPrefix(kind, KindSlices) && !yield(kind) {
				return
			}
		}
	})
}

func describeOne(t *testing.T, c *Cache, driver, pool, name string) (types.ClaimedDevice, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	device := []types.ClaimedDevice{{Claim: "c", Driver: driver, Pool: pool, Name: name}}
	err := c.Describe(ctx, device)
	return device[0], err
}

// Slices are watched once a claim is seen: this node's, and those of no one node of a driver that
// has such. After that nothing is asked.
func TestSlicesAreWatched(t *testing.T) {
	s := newAPIServer(t)
	s.set(KindPods, fmt.Sprintf(podList, ""))
	s.set(KindNetworks, fmt.Sprintf(nadList, ""))
	s.set(ofNode, fmt.Sprintf(sliceList, sliceJSON("drv", "node-1", 1, "id-1")))
	s.set(ofDrive, fmt.Sprintf(sliceList, sliceJSON("far", "fabric", 1, "id-far")))
	c, _ := watching(t, s)
	check.Must(t, c.Synced(t.Context()))
	if asked := slicesAsked(s); asked != nil {
		t.Errorf("asked before there is a claim: %v", asked)
	}
	if _, watched := c.Sizes()[KindSlices]; watched {
		t.Error("slices have a size before there is a claim")
	}
	for range 2 {
		for _, test := range []struct{ driver, pool, name, id string }{{"drv", "node-1", "vf", "id-1"}, {"drv", "node-1", "gpu", ""}, {"far", "fabric", "vf", "id-far"}} {
			got, err := describeOne(t, c, test.driver, test.pool, test.name)
			check.Must(t, err)
			check.Equal(t, test.driver+" "+test.name, got.ID, test.id)
		}
	}
	if diff := cmp.Diff([]string{ofDrive, ofNode}, slicesAsked(s)); diff != "" {
		t.Errorf("watches (-want +got):\n%s", diff)
	}
	if asked := c.live.(*live).asked; asked != nil {
		t.Errorf("read live: %v", asked)
	}
	check.Equal(t, "slices", c.Sizes()[KindSlices].Objects, 2)
	s.watchOf(ofNode) <- watchEvent{"MODIFIED", json.RawMessage(sliceJSON("drv", "node-1", 2, "id-2"))}
	check.Eventually(t, "the new generation", patience, func() error {
		if got, err := describeOne(t, c, "drv", "node-1", "vf"); err != nil || got.ID != "id-2" {
			return fmt.Errorf("it is %s: %w", got.ID, err)
		}
		return nil
	})
	s.set(KindSlices+" spec.driver=drv,spec.nodeName=", fmt.Sprintf(sliceList, ""))
	got, err := describeOne(t, c, "drv", "node-1", "vf-of-now")
	check.Must(t, err)
	check.Equal(t, "a device that the watch has not brought", got.ID, "live-vf-of-now")
}

// Who may not watch slices says so at once, and another source is asked.
func TestSlicesAreRefused(t *testing.T) {
	for status, want := range map[int]string{http.StatusForbidden: "dra.enabled", http.StatusUnauthorized: "slices are not known yet"} {
		s := newAPIServer(t)
		s.setRefuses(status)
		c, _ := watching(t, s)
		check.Eventually(t, "a refusal, once watches may begin", patience, func() error {
			_, err := describeOne(t, c, "drv", "node-1", "vf")
			if err == nil || !strings.Contains(err.Error(), want) || types.CodeOf(err, 0) != types.CodeTryAgainLater {
				return fmt.Errorf("it says %w", err)
			}
			return nil
		})
	}
}

// What does not fit is not kept but for its pool, and is read live.
func TestLargeSlices(t *testing.T) {
	c, l, _ := newTestCache()
	into := newStore(KindSlices, 1000, sliceOf, func(types.Ref) {}, noLog())
	c.slices.stores["spec.nodeName=n1"] = into
	published := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "drv", Pool: resourcev1.ResourcePool{Name: "n1", Generation: 1, ResourceSliceCount: 1},
		Devices: []resourcev1.Device{{Name: "vf", Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{
			types.AttributeDeviceID: {StringValue: new(strings.Repeat("x", 1000))},
		}}},
	}}
	check.Must(t, into.Replace([]any{published}, "1"))
	check.Equal(t, "not kept", into.size().NotKept, 1)
	got, err := describeOne(t, c, "drv", "n1", "vf")
	check.Must(t, err)
	check.Equal(t, "ID", got.ID, "live-vf")
	check.Equal(t, "asked", strings.Join(l.asked, ","), "device vf")
}

// The claims of a pod are read live, one pod in its turn.
func TestPodClaimsAreReadLive(t *testing.T) {
	c, l, counts := newTestCache()
	devices, err := c.ReadPodClaims(t.Context(), &types.Pod{Namespace: "d", Name: "web"})
	check.Must(t, err)
	check.Equal(t, "claim", devices[0].Claim, "live")
	check.Equal(t, "asked", strings.Join(l.asked, ","), "claims of web")
	check.Equal(t, "counted", counts.got["claims live=true"], 1)
}
