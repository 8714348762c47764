package kubelet

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	podresourcesv1 "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/plexus-cni/plexus/types"
)

// sampleCheckpoint is a file as a kubelet of 1.37 writes it, with the entries of two pods.
const sampleCheckpoint = `{"Data":{"PodDeviceEntries":[
 {"PodUID":"uid-2","ContainerName":"c","ResourceName":"example.com/vf","DeviceIDs":{"-1":["d9"]},"AllocResp":"Cgw="},
 {"PodUID":"uid-1","ContainerName":"b","ResourceName":"example.com/vf","DeviceIDs":{"0":["d3"],"1":["d3","d1"]},"AllocResp":"Cgw="},
 {"PodUID":"uid-1","ContainerName":"b","ResourceName":"example.com/other","DeviceIDs":{"-1":["x"]},"AllocResp":null},
 {"PodUID":"uid-1","ContainerName":"a","ResourceName":"example.com/vf","DeviceIDs":{"0":["d2"]},"AllocResp":""}],
 "RegisteredDevices":{"example.com/vf":["d1","d2","d3","d9"]}},"Checksum":1234567}`

func TestCheckpointRefused(t *testing.T) {
	for name, test := range map[string]struct{ data, says string }{
		"empty":         {"", "not a device checkpoint"},
		"torn":          {sampleCheckpoint[:100], "not a device checkpoint"},
		"something":     {`{"a": 1}`, "it has no Data"},
		"another type":  {`{"Data": {"PodDeviceEntries": [{"DeviceIDs": ["d"]}]}}`, "not a device checkpoint"},
		"nothing of it": {`{"Data": {}}`, ErrUnknownPod.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseCheckpoint([]byte(test.data), "uid-1")
			if err == nil || !strings.Contains(err.Error(), test.says) || got != nil {
				t.Errorf("got %v, error %v, want one that says %q", got, err, test.says)
			}
		})
	}
}

// Whatever a file holds: an error, or containers by name, each once.
func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(sampleCheckpoint), "uid-1")
	f.Add([]byte(`{"data":{"poddeviceentries":[{"poduid":"u","DeviceIDs":{"":[""]}}]}}`), "u")
	f.Add([]byte(`null`), "")
	f.Fuzz(func(t *testing.T, data []byte, uid string) {
		containers, err := parseCheckpoint(data, uid)
		if (err == nil) == (len(containers) == 0) {
			t.Fatalf("%d containers and the error %v", len(containers), err)
		}
		if !slices.IsSortedFunc(containers, func(a, b container) int { return strings.Compare(a.name, b.name) }) {
			t.Errorf("not in order: %v", containers)
		}
		for resource, ids := range inOrder(containers) {
			if sorted := slices.Sorted(slices.Values(ids)); len(slices.Compact(sorted)) != len(ids) {
				t.Errorf("resource %s has a device twice: %q", resource, ids)
			}
		}
	})
}

// Our reader of the kubelet's messages says what the generated one says.
func FuzzMessage(f *testing.F) {
	for _, pods := range [][]*podresourcesv1.PodResources{
		nil,
		{podOf("web", containerOf("c", devicesOf("r", "1", "2")))},
		{podOf("a"), podOf("b", containerOf("", devicesOf("")))},
		{podOf("c", claiming("c", claimOf("vf", "ns", resourceOf("d", "p", "n", "share"), resourceOf("d", "p", "m", ""))), claiming("", claimOf("", "")))},
	} {
		data, err := proto.Marshal(&podresourcesv1.ListPodResourcesResponse{PodResources: pods})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		var want podresourcesv1.ListPodResourcesResponse
		wrong := proto.Unmarshal(data, &want)
		got, err := decodePods(data)
		if wrong != nil {
			return // we pass over more: texts that are no UTF-8, types of fields that are not read
		}
		if err != nil && !hasGroup(err) {
			t.Fatalf("refused: %v", err)
		}
		if err == nil {
			equalPods(t, want.PodResources, got)
		}
	})
}

// hasGroup reports whether a message has a group, which no proto3 has and the generated reader
// passes over.
func hasGroup(err error) bool { return strings.HasSuffix(err.Error(), "a field of type 3") }

func equalPods(t *testing.T, want []*podresourcesv1.PodResources, got []podResources) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d pods, want %d", len(got), len(want))
	}
	for i, pod := range want {
		if got[i].name != pod.Name || got[i].namespace != pod.Namespace || len(got[i].containers) != len(pod.Containers) {
			t.Fatalf("pod %+v, want %v", got[i], pod)
		}
		for j, c := range pod.Containers {
			have := got[i].containers[j]
			if have.name != c.Name || len(have.devices) != len(c.Devices) || len(have.claims) != len(c.DynamicResources) {
				t.Fatalf("container %+v, want %v", have, c)
			}
			for k, d := range c.Devices {
				if have.devices[k].resource != d.ResourceName || !slices.Equal(have.devices[k].ids, d.DeviceIds) {
					t.Fatalf("devices %+v, want %v", have.devices[k], d)
				}
			}
			for k, claim := range c.DynamicResources {
				equalClaim(t, claim, &have.claims[k])
			}
		}
	}
}

func equalClaim(t *testing.T, want *podresourcesv1.DynamicResource, got *containerClaim) {
	t.Helper()
	plain := containerClaim{name: want.ClaimName, namespace: want.ClaimNamespace}
	for _, r := range want.ClaimResources {
		plain.devices = append(plain.devices, types.ClaimedDevice{Driver: r.DriverName, Pool: r.PoolName, Name: r.DeviceName, ShareID: r.GetShareId()})
	}
	if got.name != plain.name || got.namespace != plain.namespace || !slices.Equal(got.devices, plain.devices) {
		t.Fatalf("claim %+v, want %+v", got, plain)
	}
}

// A request is what the generated one encodes.
func TestGetRequest(t *testing.T) {
	var got podresourcesv1.GetPodResourcesRequest
	name := strings.Repeat("n", 253)
	if err := proto.Unmarshal(getRequest(&types.Pod{Namespace: "default", Name: name}), &got); err != nil {
		t.Fatal(err)
	}
	if got.PodName != name || got.PodNamespace != "default" {
		t.Errorf("got %v", &got)
	}
}
