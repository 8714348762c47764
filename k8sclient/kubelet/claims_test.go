package kubelet

import (
	"cmp"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	podresourcesv1 "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/plexus-cni/plexus/types"
)

func resourceOf(driver, pool, name, share string) *podresourcesv1.ClaimResource {
	r := &podresourcesv1.ClaimResource{
		CdiDevices: []*podresourcesv1.CDIDevice{{Name: "vendor.com/vf=" + name}}, DriverName: driver, PoolName: pool, DeviceName: name,
	}
	if share != "" {
		r.ShareId = &share
	}
	return r
}

func claimOf(name, namespace string, resources ...*podresourcesv1.ClaimResource) *podresourcesv1.DynamicResource {
	return &podresourcesv1.DynamicResource{ClaimName: name, ClaimNamespace: namespace, ClaimResources: resources}
}

func claiming(name string, claims ...*podresourcesv1.DynamicResource) *podresourcesv1.ContainerResources {
	c := containerOf(name)
	c.DynamicResources = claims
	return c
}

func claimed(claim, driver, pool, name string) types.ClaimedDevice {
	return types.ClaimedDevice{Claim: claim, Driver: driver, Pool: pool, Name: name}
}

func shared(d types.ClaimedDevice, share string) types.ClaimedDevice {
	d.ShareID = share
	return d
}

func TestClaimed(t *testing.T) {
	for name, test := range map[string]struct {
		containers []*podresourcesv1.ContainerResources
		want       []types.ClaimedDevice
	}{
		"none":                 {[]*podresourcesv1.ContainerResources{containerOf("c", devicesOf("r", "1"))}, []types.ClaimedDevice{}},
		"a claim of no device": {[]*podresourcesv1.ContainerResources{claiming("c", claimOf("vf", "default"))}, []types.ClaimedDevice{}},
		"sorted in a claim, by driver, pool and name": {
			[]*podresourcesv1.ContainerResources{claiming("c", claimOf(
				"vf", "default", resourceOf("b", "a", "a", ""), resourceOf("a", "b", "a", ""), resourceOf("a", "a", "b", ""), resourceOf("a", "a", "a", "")))},
			[]types.ClaimedDevice{claimed("vf", "a", "a", "a"), claimed("vf", "a", "a", "b"), claimed("vf", "a", "b", "a"), claimed("vf", "b", "a", "a")},
		},
		"claims and containers in their order": {
			[]*podresourcesv1.ContainerResources{
				claiming("z", claimOf("y", "default", resourceOf("d", "p", "3", "")), claimOf("x", "default", resourceOf("d", "p", "2", ""))),
				claiming("a", claimOf("a", "default", resourceOf("d", "p", "1", ""))),
			},
			[]types.ClaimedDevice{claimed("y", "d", "p", "3"), claimed("x", "d", "p", "2"), claimed("a", "d", "p", "1")},
		},
		"a claim of two containers": {
			[]*podresourcesv1.ContainerResources{
				claiming("a", claimOf("x", "default", resourceOf("d", "p", "2", ""))),
				claiming("b", claimOf("y", "default", resourceOf("d", "p", "9", "")), claimOf("x", "default", resourceOf("d", "p", "1", ""), resourceOf("d", "p", "2", ""))),
			},
			[]types.ClaimedDevice{claimed("x", "d", "p", "1"), claimed("x", "d", "p", "2"), claimed("y", "d", "p", "9")},
		},
		"shares of a device": {
			[]*podresourcesv1.ContainerResources{claiming("a", claimOf(
				"x", "default", resourceOf("d", "p", "1", "s2"), resourceOf("d", "p", "1", "s1"), resourceOf("d", "p", "1", "s2")))},
			[]types.ClaimedDevice{shared(claimed("x", "d", "p", "1"), "s1"), shared(claimed("x", "d", "p", "1"), "s2")},
		},
		"one device of two claims": {
			[]*podresourcesv1.ContainerResources{claiming("a", claimOf("x", "default", resourceOf("d", "p", "1", "")), claimOf("y", "default", resourceOf("d", "p", "1", "")))},
			[]types.ClaimedDevice{claimed("x", "d", "p", "1"), claimed("y", "d", "p", "1")},
		},
		"of another namespace, and of none": {
			[]*podresourcesv1.ContainerResources{claiming("a", claimOf("x", "other", resourceOf("d", "p", "1", "")), claimOf("x", "", resourceOf("d", "p", "2", "")))},
			[]types.ClaimedDevice{claimed("x", "d", "p", "2")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := wanting()
			f := &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("web", test.containers...)}}
			if err := (Devices{Socket: f.serve(t)}).Complete(t.Context(), facts); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.want, facts.Claimed); diff != "" {
				t.Error(diff)
			}
			if len(f.asked) != 1 {
				t.Errorf("asked %q, want one call", f.asked)
			}
		})
	}
}

// The kubelet is asked for a pod that only names claims.
func TestClaimsAreAskedFor(t *testing.T) {
	f := &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("web", claiming("c", claimOf("vf", "default", resourceOf("d", "p", "1", ""))))}}
	socket := f.serve(t)
	byNetwork := wanting()
	byNetwork.Networks[0] = types.Network{Ref: byNetwork.Networks[0].Ref, Claim: "vf/port"}
	byElement := &types.Facts{Pod: types.Pod{Namespace: "default", Name: "web", Annotations: map[string]string{
		types.AnnotationNetworks: `[{"name":"slow","plexus-cni.io/claim":"vf"}]`,
	}}}
	for name, facts := range map[string]*types.Facts{"network": byNetwork, "element": byElement} {
		if err := (Devices{Socket: socket}).Complete(t.Context(), facts); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]types.ClaimedDevice{claimed("vf", "d", "p", "1")}, facts.Claimed); diff != "" {
			t.Errorf("by %s: %s", name, diff)
		}
	}
}

// sampleClaims is what a kubelet of 1.37 notes of three claims, of two pods.
const sampleClaims = `{"kind":"DRACheckpoint","apiVersion":"checkpoint.dra.kubelet.k8s.io/v1","ClaimInfoStateList":[
 {"ClaimUID":"c3","ClaimName":"z","Namespace":"default","PodUIDs":{"uid-1":{},"uid-2":{}},"DriverState":{
  "vf.example.com":{"Devices":[
   {"PoolName":"node","DeviceName":"vf-2","ShareID":null,"RequestNames":["left","right"],"CDIDeviceIDs":["vendor.com/vf=2"]},
   {"PoolName":"node","DeviceName":"vf-1","ShareID":"s1","RequestNames":null,"CDIDeviceIDs":null}]},
  "a.example.com":{"Devices":[{"PoolName":"node","DeviceName":"gpu","ShareID":null,"RequestNames":["gpu/small"],"CDIDeviceIDs":[]}],"skipNodeOperations":["*"]},
  "none.example.com":{"Devices":null}}},
 {"ClaimUID":"c1","ClaimName":"b","Namespace":"default","PodUIDs":{"uid-1":{}},"DriverState":{
  "vf.example.com":{"Devices":[{"PoolName":"node","DeviceName":"vf-7","ShareID":null,"RequestNames":["only"],"CDIDeviceIDs":null}]}}},
 {"ClaimUID":"c2","ClaimName":"a","Namespace":"default","PodUIDs":{"uid-3":{}},"DriverState":{
  "vf.example.com":{"Devices":[{"PoolName":"node","DeviceName":"vf-9","ShareID":null,"RequestNames":["only"],"CDIDeviceIDs":null}]}}}]}`

// sealed gives the file that holds data.
func sealed(data string) string {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return `{"Data":` + string(text) + `,"Checksum":` + strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(data))), 10) + `}`
}

func asked(d types.ClaimedDevice, request string) types.ClaimedDevice {
	d.Request = request
	return d
}

// notedClaims are those of uid-1.
var notedClaims = []types.ClaimedDevice{
	asked(claimed("b", "vf.example.com", "node", "vf-7"), "only"),
	asked(claimed("z", "a.example.com", "node", "gpu"), "gpu/small"),
	shared(claimed("z", "vf.example.com", "node", "vf-1"), "s1"),
	asked(claimed("z", "vf.example.com", "node", "vf-2"), "left"),
}

// Both files of the kubelet are read, and the pod is known if one of them names it.
func TestClaimCheckpoint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	devices, claims := write("devices", sampleCheckpoint), write("claims", sealed(sampleClaims))
	usual := write("device-plugins/kubelet_internal_checkpoint", sampleCheckpoint)
	write("dra_manager_state", sealed(sampleClaims))
	noted := map[string][]string{"example.com/vf": {"d2", "d1", "d3"}, "example.com/other": {"x"}}
	none := []types.ClaimedDevice{}
	for name, test := range map[string]struct {
		devices Devices
		uid     string
		want    allocated
		says    []string
	}{
		"both name it":         {Devices{"/nowhere", devices, claims}, "uid-1", allocated{noted, notedClaims}, nil},
		"in their usual place": {Devices{"/nowhere", usual, ""}, "uid-1", allocated{noted, notedClaims}, nil},
		"in an unusual one":    {Devices{"/nowhere", devices, ""}, "uid-1", allocated{noted, nil}, nil},
		"claims alone":         {Devices{"/nowhere", "", claims}, "uid-1", allocated{map[string][]string{}, notedClaims}, nil},
		"devices do not name it": {
			Devices{"/nowhere", devices, claims},
			"uid-3",
			allocated{map[string][]string{}, []types.ClaimedDevice{asked(claimed("a", "vf.example.com", "node", "vf-9"), "only")}},
			nil,
		},
		"claims do not name it":    {Devices{"/nowhere", devices, write("empty", sealed(`{}`))}, "uid-1", allocated{noted, none}, nil},
		"no file of devices":       {Devices{"/nowhere", "/nowhere.too", claims}, "uid-1", allocated{map[string][]string{}, notedClaims}, nil},
		"no file of claims":        {Devices{"/nowhere", devices, "/nowhere.too"}, "uid-1", allocated{noted, none}, nil},
		"the file of claims torn":  {Devices{"/nowhere", devices, write("torn", sealed(sampleClaims)[:200])}, "uid-1", allocated{}, []string{"claim checkpoint: " + dir + "/torn: " + ErrTornCheckpoint.Error()}},
		"the file of devices torn": {Devices{"/nowhere", write("half", sampleCheckpoint[:99]), claims}, "uid-1", allocated{}, []string{"deviceCheckpoint: " + dir + "/half: it is not a device checkpoint"}},
		"nobody names it":          {Devices{"/nowhere", devices, claims}, "uid-9", allocated{}, []string{"kubelet on /nowhere", "deviceCheckpoint: " + devices, "claim checkpoint: " + claims, ErrUnknownPod.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := wanting()
			facts.Pod.UID = test.uid
			err := test.devices.Complete(t.Context(), facts)
			if test.says != nil {
				mustTryAgain(t, err, nil, test.says...)
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.want.devices, facts.Devices); diff != "" {
				t.Error(diff)
			}
			if diff := gocmp.Diff(test.want.claimed, facts.Claimed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The file of claims is derived from that of devices only in the kubelet's own layout.
func TestClaimCheckpointPath(t *testing.T) {
	for checkpoint, want := range map[string]string{
		types.DefaultDeviceCheckpoint:                         "/var/lib/kubelet/dra_manager_state",
		"/data/k//device-plugins/kubelet_internal_checkpoint": "/data/k/dra_manager_state",
		"/data/k/plugins/kubelet_internal_checkpoint":         "",
		"/data/k/device-plugins/other":                        "",
		"":                                                    "",
	} {
		if got := (Devices{Checkpoint: checkpoint}).claimCheckpoint(); got != want {
			t.Errorf("of %q: got %q, want %q", checkpoint, got, want)
		}
		if got := (Devices{Checkpoint: checkpoint, ClaimCheckpoint: "/own"}).claimCheckpoint(); got != "/own" {
			t.Errorf("of %q beside one that is set: got %q", checkpoint, got)
		}
	}
}

func TestClaimCheckpointRefused(t *testing.T) {
	whole := sealed(sampleClaims)
	for name, test := range map[string]struct{ data, says string }{
		"empty":              {"", "unexpected end"},
		"cut off":            {whole[:len(whole)/2], "unexpected end"},
		"no Data":            {`{"version":"v1","entries":[]}`, "it has no Data"},
		"an older Data":      {strings.Replace(whole, "vf-7", "vf-8", 1), "its checksum is wrong"},
		"an older checksum":  {strings.Replace(whole, `"Checksum":`, `"Checksum":7,"Was":`, 1), "its checksum is wrong"},
		"Data of a list":     {sealed(`[]`), "its Data"},
		"Data of other pods": {sealed(`{"ClaimInfoStateList":[{"PodUIDs":["uid-1"]}]}`), "its Data"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseClaimCheckpoint([]byte(test.data), "uid-1")
			if !errors.Is(err, ErrTornCheckpoint) || !strings.Contains(err.Error(), test.says) || got != nil {
				t.Errorf("got %v, error %v, want %v that says %q", got, err, ErrTornCheckpoint, test.says)
			}
		})
	}
}

// Whatever a file holds: an error, or claims by name and devices that are each there once.
func FuzzClaimCheckpoint(f *testing.F) {
	f.Add(sampleClaims, "uid-1")
	f.Add(`{"claiminfostatelist":[{"poduids":{"":{}},"DriverState":{"d":{"Devices":[{},{}]}}},{"poduids":{"":null}}]}`, "")
	f.Add(`null`, "u")
	f.Fuzz(func(t *testing.T, data, uid string) {
		containers, err := parseClaimCheckpoint([]byte(sealed(data)), uid)
		if (err == nil) == (len(containers) == 0) {
			t.Fatalf("%d containers and the error %v", len(containers), err)
		}
		devices := claimsInOrder(containers, "default")
		if !slices.IsSortedFunc(devices, func(a, b types.ClaimedDevice) int {
			return cmp.Or(cmp.Compare(a.Claim, b.Claim), compareDevices(a, b))
		}) {
			t.Errorf("not in order: %v", devices)
		}
		for i := 1; i < len(devices); i++ {
			if devices[i].Claim == devices[i-1].Claim && isSameDevice(devices[i], devices[i-1]) {
				t.Errorf("twice: %v", devices[i])
			}
		}
	})
}
