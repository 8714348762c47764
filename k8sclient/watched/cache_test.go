package watched

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// live is an API server that answers by name, and notes what it is asked for.
type live struct {
	fault   error
	problem string // of every network
	config  string // of every network, if it is set
	mu      sync.Mutex
	asked   []string
}

func (l *live) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, what)
}

func (l *live) ReadPod(_ context.Context, pod *types.Pod) (*k8sclient.PodObject, error) {
	l.note("pod " + pod.Name)
	if pod.Name == "gone" {
		return nil, fmt.Errorf("pod %s: %w", pod, k8sclient.ErrPodNotFound)
	}
	if l.fault != nil {
		return nil, l.fault
	}
	return &k8sclient.PodObject{UID: "live-uid", Annotations: map[string]string{types.AnnotationNetworks: "live"}}, nil
}

func (l *live) ReadNetworks(_ context.Context, refs []types.Ref) ([]types.Network, error) {
	networks := make([]types.Network, len(refs))
	for i, ref := range refs {
		l.note("network " + ref.Name)
		networks[i] = types.Network{Ref: ref, Config: cmp.Or(l.config, "live-"+ref.Name), Missing: ref.Name == "missing", Problem: l.problem}
	}
	return networks, l.fault
}

// counts notes the calls of Options.Count.
type counts struct {
	mu  sync.Mutex
	got map[string]int
}

func (c *counts) count(kind string, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[fmt.Sprintf("%s live=%v", kind, live)]++
}

// newTestCache makes a cache without watches.
func newTestCache() (*Cache, *live, *counts) {
	l, c := &live{}, &counts{got: map[string]int{}}
	return &Cache{
		pods: newStore(KindPods, maxPods, podOf, func(types.Ref) {}, noLog()), networks: newStore(KindNetworks, maxNetworks, networkOf, func(types.Ref) {}, noLog()),
		slices:  &sliceWatches{opts: &Options{Node: "n1"}, stores: map[string]*store[slice]{}},
		answers: newAnswers(),
		live:    l, count: c.count,
	}, l, c
}

func podMeta(name, uid, networks string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "d", Name: name, UID: apitypes.UID(uid), Annotations: map[string]string{types.AnnotationNetworks: networks},
	}}
}

func filled(t *testing.T) (*Cache, *live, *counts) {
	t.Helper()
	c, l, counts := newTestCache()
	static := podMeta("static", "mirror", "a")
	static.Annotations[types.AnnotationConfigMirror] = "hash"
	check.Must(t, c.pods.Replace([]any{podMeta("web", "u1", "a,b"), static, podMeta("long", "u4", strings.Repeat("n", maxAnnotation+1))}, "1"))
	check.Must(t, c.networks.Replace([]any{nad("a", "A"), nad("b", "B")}, "1"))
	return c, l, counts
}

func TestReadPod(t *testing.T) {
	for name, test := range map[string]struct {
		pod   types.Pod
		uid   string // of what is read
		live  []string
		fails bool
	}{
		"known":                       {pod: types.Pod{Name: "web", UID: "u1"}, uid: "u1"},
		"known, by its name alone":    {pod: types.Pod{Name: "web"}, uid: "live-uid", live: []string{"pod web"}},
		"a mirror, by the static UID": {pod: types.Pod{Name: "static", UID: "hash"}, uid: "mirror"},
		"another of that name":        {pod: types.Pod{Name: "web", UID: "u2"}, uid: "live-uid", live: []string{"pod web"}},
		"not heard of":                {pod: types.Pod{Name: "new", UID: "u3"}, uid: "live-uid", live: []string{"pod new"}},
		"known, with long networks":   {pod: types.Pod{Name: "long", UID: "u4"}, uid: "live-uid", live: []string{"pod long"}},
		"not there":                   {pod: types.Pod{Name: "gone"}, live: []string{"pod gone"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, l, counts := filled(t)
			test.pod.Namespace = "d"
			found, err := c.ReadPod(t.Context(), &test.pod)
			if (err != nil) != test.fails || err == nil && found.UID != test.uid {
				t.Fatalf("got %+v, %v", found, err)
			}
			if diff := gocmp.Diff(test.live, l.asked); diff != "" {
				t.Errorf("live reads (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(map[string]int{fmt.Sprintf("pods live=%v", test.live != nil): 1}, counts.got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// Networks come in the order in which they are asked for, wherever they are found, and
// each that is not known is read once.
func TestReadNetworks(t *testing.T) {
	c, l, counts := filled(t)
	got, err := c.ReadNetworks(t.Context(), []types.Ref{ref("new"), ref("b"), ref("missing"), ref("a"), {Namespace: "other", Name: "a"}})
	check.Must(t, err)
	want := []types.Network{
		{Ref: ref("new"), Config: "live-new"},
		{Ref: ref("b"), Config: "B"},
		{Ref: ref("missing"), Config: "live-missing", Missing: true},
		{Ref: ref("a"), Config: "A"},
		{Ref: types.Ref{Namespace: "other", Name: "a"}, Config: "live-a"},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]string{"network new", "network missing", "network a"}, l.asked); diff != "" {
		t.Errorf("live reads (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(map[string]int{"networks live=true": 3, "networks live=false": 2}, counts.got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A request for nothing does not wait.
func TestReadNoNetworks(t *testing.T) {
	c, l, _ := newTestCache()
	if got, err := c.ReadNetworks(t.Context(), nil); err != nil || len(got) != 0 || len(l.asked) != 0 {
		t.Errorf("got %v, %v, asked %v", got, err, l.asked)
	}
}

// A cache that is not filled in time says to try again later, and reads nothing.
func TestReadBeforeAllIsKnown(t *testing.T) {
	c, l, _ := newTestCache()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.ReadPod(ctx, &types.Pod{Namespace: "d", Name: "web"})
	if types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("pod: %v", err)
	}
	if networks, err := c.ReadNetworks(ctx, []types.Ref{ref("a"), ref("b")}); types.CodeOf(err, 0) != types.CodeTryAgainLater || networks != nil {
		t.Errorf("networks: %v, %v", networks, err)
	}
	if len(l.asked) > 0 {
		t.Errorf("live reads: %v", l.asked)
	}
}

// A kind that the API server does not know is read live, every time: the answer says so.
func TestReadWhatCannotBeWatched(t *testing.T) {
	c, l, _ := newTestCache()
	c.pods.note(status(404))
	c.networks.note(status(404))
	facts, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "d", Name: "web"}, Networks: []types.Ref{ref("a")}})
	check.Must(t, err)
	want := &types.Facts{
		Pod:      types.Pod{Namespace: "d", Name: "web", UID: "live-uid", Annotations: map[string]string{types.AnnotationNetworks: "live"}},
		Networks: []types.Network{{Ref: ref("a"), Config: "live-a"}, {Ref: ref("live"), Config: "live-live"}},
	}
	if diff := gocmp.Diff(want, facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]string{"pod web", "network a", "network live"}, l.asked); diff != "" {
		t.Errorf("live reads (-want +got):\n%s", diff)
	}
	if c.Ready() == nil {
		t.Error("it is ready")
	}
}

// For a kind that the agent may not watch, another source may be asked.
func TestReadWhatMayNotBeWatched(t *testing.T) {
	for _, code := range []int{401, 403} {
		c, l, _ := newTestCache()
		check.Must(t, c.pods.Replace([]any{podMeta("web", "u1", "a")}, "1"))
		c.networks.note(status(code))
		facts, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "d", Name: "web", UID: "u1"}})
		if types.CodeOf(err, 0) != types.CodeTryAgainLater || len(l.asked) > 0 {
			t.Errorf("%d: got %+v, %v, asked %v", code, facts, err, l.asked)
		}
	}
}

// What was known before a refusal may have changed: another source is asked. Questions that
// do not need the kind are answered, and an outage is no refusal.
func TestReadWhatIsRefusedLater(t *testing.T) {
	needsBoth := types.FactsRequest{Pod: types.Pod{Namespace: "d", Name: "web", UID: "u1"}}
	handedOver := types.FactsRequest{
		Pod:            types.Pod{Namespace: "d", Name: "web", UID: "u1", Annotations: map[string]string{types.AnnotationNetworks: "a"}},
		HasAnnotations: true,
	}
	plain := types.FactsRequest{Pod: types.Pod{Namespace: "d", Name: "web", UID: "u1"}, HasAnnotations: true}
	unheard := types.FactsRequest{Pod: handedOver.Pod, HasAnnotations: true, Networks: []types.Ref{ref("new")}}
	for name, test := range map[string]struct {
		kind    string
		request types.FactsRequest
		refused bool
	}{
		"networks":                       {KindNetworks, needsBoth, true},
		"pods":                           {KindPods, needsBoth, true},
		"networks, of a pod handed over": {KindNetworks, handedOver, true},
		"networks, one not known":        {KindNetworks, unheard, true},
		"pods, of a pod handed over":     {KindPods, handedOver, false},
		"networks, and none is named":    {KindNetworks, plain, false},
	} {
		for code, refusal := range map[int]bool{401: true, 403: true, 404: true, 429: false, 500: false, 503: false} {
			c, l, _ := filled(t)
			note := map[string]func(error){KindPods: c.pods.note, KindNetworks: c.networks.note}[test.kind]
			note(status(code))
			want := uint(0)
			if test.refused && refusal {
				want = types.CodeTryAgainLater
			}
			facts, err := c.Facts(t.Context(), &test.request)
			if types.CodeOf(err, 0) != want || (err != nil) != (want != 0) || want != 0 && len(l.asked) > 0 {
				t.Errorf("%s, %d: got %+v, %v, asked %v", name, code, facts, err, l.asked)
			}
			if size := c.Sizes()[test.kind]; size.Refused != refusal || !size.Failing {
				t.Errorf("%s, %d: size %+v", name, code, size)
			}
			if err := c.Ready(); (err != nil) != refusal {
				t.Errorf("%s, %d: ready: %v", name, code, err)
			}
		}
	}
}

// Credentials that are refused later on are no wrong answer either.
func TestReadWithCredentialsThatAreRefused(t *testing.T) {
	c, l, _ := filled(t)
	l.fault = types.WithCode(types.CodeFailed, errors.New("401 Unauthorized"))
	if _, err := c.ReadPod(t.Context(), &types.Pod{Namespace: "d", Name: "new", UID: "u9"}); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a pod: got code %d, %v", types.CodeOf(err, 0), err)
	}
	if found, err := c.ReadPod(t.Context(), &types.Pod{Namespace: "d", Name: "web"}); err != nil || found.UID != "u1" {
		t.Errorf("a pod by its name, known from before: got %+v, %v", found, err)
	}
	l.fault, l.problem = nil, "403 Forbidden"
	if networks, err := c.ReadNetworks(t.Context(), []types.Ref{ref("new")}); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a network: got %v, code %d, %v", networks, types.CodeOf(err, 0), err)
	}
}

func TestReadNetworksFails(t *testing.T) {
	c, l, _ := filled(t)
	l.fault = errors.New("no such luck")
	if networks, err := c.ReadNetworks(t.Context(), []types.Ref{ref("a"), ref("new")}); !errors.Is(err, l.fault) {
		t.Errorf("got %v, %v", networks, err)
	}
}

func TestSizes(t *testing.T) {
	c, _, _ := filled(t)
	check.Must(t, c.Synced(t.Context()))
	want := map[string]Size{KindPods: {Objects: 3, Bytes: 927, NotKept: 1, Synced: true}, KindNetworks: {Objects: 2, Bytes: 514, Synced: true}}
	if diff := gocmp.Diff(want, c.Sizes()); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	c, _, _ = newTestCache()
	check.Must(t, c.networks.Replace(nil, "1"))
	want = map[string]Size{KindPods: {}, KindNetworks: {Synced: true}}
	if diff := gocmp.Diff(want, c.Sizes()); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func (l *live) Describe(_ context.Context, devices []types.ClaimedDevice) error {
	for i := range devices {
		l.note("device " + devices[i].Name)
		devices[i].ID = "live-" + devices[i].Name
	}
	return l.fault
}

func (l *live) ReadPodClaims(_ context.Context, pod *types.Pod) ([]types.ClaimedDevice, error) {
	l.note("claims of " + pod.Name)
	return []types.ClaimedDevice{{Claim: "live"}}, l.fault
}
