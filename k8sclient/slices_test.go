package k8sclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// published is a slice as an API server gives it. A device is NAME or NAME=RESOURCE,ID,ADDRESS.
func published(driver, pool string, generation, count int, devices ...string) string {
	var all []string
	for _, device := range devices {
		name, facts, _ := strings.Cut(device, "=")
		var attributes []string
		for i, key := range []string{types.AttributeResourceName, types.AttributeDeviceID, types.AttributePCIAddress} {
			if value := strings.Split(facts+",,", ",")[i]; value != "" {
				attributes = append(attributes, fmt.Sprintf("%q: {\"string\": %q}", key, value))
			}
		}
		attributes = append(attributes, `"driver.example.com/numa": {"int": 1}`, `"driver.example.com/models": {"strings": ["a"]}`)
		all = append(all, fmt.Sprintf(`{"name": %q, "attributes": {%s}, "capacity": {"x": {"value": "1"}}}`, name, strings.Join(attributes, ", ")))
	}
	return fmt.Sprintf(`{"metadata": {"name": "s"}, "spec": {"driver": %q, "nodeName": "n1", "pool": {"name": %q, "generation": %d, "resourceSliceCount": %d}, "devices": [%s]}}`,
		driver, pool, generation, count, strings.Join(all, ", "))
}

// What a driver publishes of a device becomes what a network knows it by.
func TestSlice(t *testing.T) {
	const vf = "e/vf,id-1,0000:3b:02.1"
	for name, test := range map[string]struct {
		device string
		want   SliceDevice
	}{
		"everything":           {"d=" + vf, SliceDevice{"d", "e/vf", "id-1", "0000:3b:02.1"}},
		"the address alone":    {"d=,,0000:3b:02.1", SliceDevice{"d", "", "0000:3b:02.1", "0000:3b:02.1"}},
		"no address":           {"d=e/vf,id-1", SliceDevice{"d", "e/vf", "id-1", ""}},
		"nothing for networks": {"gpu", SliceDevice{Name: "gpu"}},
	} {
		var got Slice
		check.Must(t, json.Unmarshal([]byte(published("drv", "p", 3, 2, test.device)), &got))
		if diff := cmp.Diff(Slice{"drv", "p", 3, 2, []SliceDevice{test.want}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	var odd Slice
	const wrong = `{"spec": {"devices": [{"name": "d", "attributes": {"k8s.cni.cncf.io/deviceID": {"int": 3}, "k8s.cni.cncf.io/resourceName": 7}}]}}`
	check.Must(t, json.Unmarshal([]byte(wrong), &odd))
	check.Equal(t, "a device whose attributes are no texts", odd.Devices[0], SliceDevice{Name: "d"})
}

// A device is in the newest generation of its own pool, whichever slices there are beside it.
func TestDescribe(t *testing.T) {
	old, now := published("drv", "p", 1, 1, "d=e/old,old"), published("drv", "p", 2, 1, "d=e/vf,id-1")
	for name, test := range map[string]struct {
		slices []string
		want   string // the ID
		fault  string
	}{
		"one slice":                      {slices: []string{now}, want: "id-1"},
		"the newest generation":          {slices: []string{old, now, old}, want: "id-1"},
		"another driver's, another pool": {slices: []string{published("other", "p", 9, 1, "d=,x"), published("drv", "q", 9, 1, "d=,x"), now}, want: "id-1"},
		"two slices":                     {slices: []string{published("drv", "p", 2, 2, "c"), published("drv", "p", 2, 2, "d=,id-2")}, want: "id-2"},
		"none":                           {},
		"not in the pool any more":       {slices: []string{old, published("drv", "p", 2, 1, "c")}},
		"not all of the newest yet":      {slices: []string{old, published("drv", "p", 2, 3, "c"), published("drv", "p", 2, 3, "b")}, fault: "generation 2 has 2 of 3 slices"},
		"not all, but this one":          {slices: []string{published("drv", "p", 2, 3, "d=,id-3")}, want: "id-3"},
	} {
		t.Run(name, func(t *testing.T) {
			all := make([]Slice, len(test.slices))
			for i, text := range test.slices {
				check.Must(t, json.Unmarshal([]byte(text), &all[i]))
			}
			device := types.ClaimedDevice{Claim: "c", Driver: "drv", Pool: "p", Name: "d"}
			found, err := Describe(&device, all)
			if found != (test.want != "") || device.ID != test.want || (err == nil) != (test.fault == "") {
				t.Fatalf("found %v, %+v, %v", found, device, err)
			}
			if test.fault != "" {
				check.Error(t, err, "device d of pool p (driver drv, claim c)", test.fault)
				check.Equal(t, "code", types.CodeOf(err, 0), types.CodeTryAgainLater)
			}
		})
	}
}

// sliceServer answers lists of slices by driver and node, one slice a page.
type sliceServer struct {
	slices map[string][]string // by "driver node"
	refuse answer
	forbid string // one list

	mu    sync.Mutex
	asked []string
}

func (s *sliceServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var of []string
	for _, part := range strings.Split(r.URL.Query().Get("fieldSelector"), ",") {
		_, value, _ := strings.Cut(part, "=")
		of = append(of, value)
	}
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &from)
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s %d", strings.Join(of, " "), from))
	s.mu.Unlock()
	if s.refuse.code != 0 {
		w.WriteHeader(s.refuse.code)
		fmt.Fprint(w, s.refuse.body)
		return
	}
	if s.forbid != "" && s.forbid == strings.Join(of, " ") {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","reason":"Forbidden","message":"may not","code":403}`)
		return
	}
	all := s.slices[strings.Join(of, " ")]
	if len(all) == 0 {
		fmt.Fprint(w, `{"items": []}`)
		return
	}
	next := ""
	if from+1 < len(all) {
		next = fmt.Sprint(from + 1)
	}
	fmt.Fprintf(w, `{"metadata": {"continue": %q}, "items": [%s]}`, next, all[from])
}

func (s *sliceServer) client(t *testing.T) *Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	check.Must(t, err)
	return &Client{http: server.Client(), server: address, nodeName: "n1", header: http.Header{}}
}

// The lists that are asked for follow from the pool's name; that of the whole cluster is not
// among them.
func TestClientDescribes(t *testing.T) {
	local := published("drv", "n1", 1, 1, "vf-1=e/vf,id-1", "gpu")
	far := published("far", "fabric", 1, 1, "x=e/far,id-x")
	for name, test := range map[string]struct {
		slices  map[string][]string
		devices []types.ClaimedDevice
		guessed bool
		forbid  string
		asked   []string
		want    []string
		fault   []string
	}{
		"of this node": {
			slices: map[string][]string{"drv n1": {local}}, devices: []types.ClaimedDevice{{Driver: "drv", Pool: "n1", Name: "vf-1"}, {Driver: "drv", Pool: "n1", Name: "gpu"}},
			asked: []string{"drv n1 0"}, want: []string{"id-1", ""},
		},
		"of all nodes": {
			slices: map[string][]string{"far ": {far}}, devices: []types.ClaimedDevice{{Driver: "far", Pool: "fabric", Name: "x"}},
			asked: []string{"far  0"}, want: []string{"id-x"},
		},
		"of this node, in a pool of another name": {
			slices: map[string][]string{"drv n1": {published("drv", "rack", 1, 1, "vf-1=,id-r")}}, devices: []types.ClaimedDevice{{Driver: "drv", Pool: "rack", Name: "vf-1"}},
			asked: []string{"drv  0", "drv n1 0"}, want: []string{"id-r"},
		},
		"of two drivers": {
			slices:  map[string][]string{"drv n1": {local}, "far ": {far}},
			devices: []types.ClaimedDevice{{Driver: "far", Pool: "fabric", Name: "x"}, {Driver: "drv", Pool: "n1", Name: "vf-1"}},
			asked:   []string{"drv n1 0", "far  0"}, want: []string{"id-x", "id-1"},
		},
		"of a pool that is partly of this node": {
			slices:  map[string][]string{"drv ": {published("drv", "rack", 1, 2, "a")}, "drv n1": {published("drv", "rack", 1, 2, "vf-1=,id-m")}},
			devices: []types.ClaimedDevice{{Driver: "drv", Pool: "rack", Name: "vf-1"}}, asked: []string{"drv  0", "drv n1 0"}, want: []string{"id-m"},
		},
		"of a pool that is not whole in either list": {
			slices:  map[string][]string{"drv ": {published("drv", "rack", 1, 3, "a")}, "drv n1": {published("drv", "rack", 1, 3, "b")}},
			devices: []types.ClaimedDevice{{Driver: "drv", Pool: "rack", Name: "vf-1"}}, asked: []string{"drv  0", "drv n1 0"}, fault: []string{"generation 1 has 2 of 3 slices"},
		},
		"of two pages": {
			slices:  map[string][]string{"drv n1": {published("drv", "n1", 1, 2, "a"), published("drv", "n1", 1, 2, "vf-1=,id-2")}},
			devices: []types.ClaimedDevice{{Driver: "drv", Pool: "n1", Name: "vf-1"}}, asked: []string{"drv n1 0", "drv n1 1"}, want: []string{"id-2"},
		},
		"a guessed name of the node": {
			slices: map[string][]string{"drv": {local}}, devices: []types.ClaimedDevice{{Driver: "drv", Pool: "n1", Name: "vf-1"}}, guessed: true,
			asked: []string{"drv  0", "drv 0", "drv n1 0"}, want: []string{"id-1"},
		},
		"only what a node may list": {
			slices: map[string][]string{"drv n1": {published("drv", "rack", 1, 1, "vf-1=,id-r")}}, devices: []types.ClaimedDevice{{Driver: "drv", Pool: "rack", Name: "vf-1"}}, forbid: "drv ",
			asked: []string{"drv  0", "drv n1 0"}, want: []string{"id-r"},
		},
		"in what a node may not list": {
			slices: map[string][]string{"drv n1": {local}}, devices: []types.ClaimedDevice{{Driver: "drv", Pool: "rack", Name: "vf-1"}}, forbid: "drv ",
			asked: []string{"drv  0", "drv n1 0"}, fault: []string{"may not list ResourceSlices"},
		},
		"of none": {
			slices: map[string][]string{"drv n1": {local}}, devices: []types.ClaimedDevice{{Claim: "c", Driver: "drv", Pool: "n1", Name: "vf-9"}},
			asked: []string{"drv  0", "drv n1 0"}, fault: []string{"device vf-9 of pool n1 (driver drv, claim c)", "none of 1 slices", "node n1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sliceServer{slices: test.slices, forbid: test.forbid}
			client := s.client(t)
			client.guessed = test.guessed
			err := client.Describe(t.Context(), test.devices)
			slices.Sort(s.asked)
			if diff := cmp.Diff(test.asked, s.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if test.fault != nil {
				check.Error(t, err, test.fault...)
				if test.forbid == "" {
					check.Equal(t, "code", types.CodeOf(err, 0), types.CodeTryAgainLater)
				}
				return
			}
			check.Must(t, err)
			for i, want := range test.want {
				check.Equal(t, test.devices[i].Name, test.devices[i].ID, want)
			}
		})
	}
}

func TestClientDescribeIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		refuse answer
		want   []string
	}{
		"forbidden": {answer{code: 403, body: `{"kind":"Status","reason":"Forbidden","message":"may not","code":403}`}, []string{"list the slices of driver drv", "may not list ResourceSlices", "dra.enabled"}},
		"no kind":   {answer{code: 404, body: "404 page not found"}, []string{"does not serve resource.k8s.io/v1"}},
		"no JSON":   {answer{code: 200, body: "{"}, []string{"list the slices of driver drv at"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&sliceServer{refuse: test.refuse}).client(t).Describe(t.Context(), []types.ClaimedDevice{{Driver: "drv", Pool: "n1", Name: "d"}})
			check.Error(t, err, test.want...)
		})
	}
}

func FuzzSlice(f *testing.F) {
	f.Add(published("drv", "p", 3, 2, "d=e/vf,id-1,0000:3b:02.1", "gpu"))
	f.Add(`{"spec": {"devices": [null, {"attributes": {"k8s.cni.cncf.io/deviceID": null}}]}}`)
	f.Fuzz(func(_ *testing.T, text string) {
		var s Slice
		if json.Unmarshal([]byte(text), &s) == nil {
			_, _ = Describe(&types.ClaimedDevice{Driver: s.Driver, Pool: s.Pool, Name: "d"}, []Slice{s, s})
		}
	})
}
