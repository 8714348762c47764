package watched

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// noise is text of so many bytes that does not get smaller.
func noise(length int) string {
	source := rand.New(rand.NewPCG(1, uint64(length)))
	text := make([]byte, length)
	for i := range text {
		text[i] = byte(' ' + source.IntN(94))
	}
	return string(text)
}

// Of a pod's annotations only those that Plexus reads are kept, and nothing else that a
// tenant may write.
func TestPodIsReduced(t *testing.T) {
	annotations := map[string]string{
		types.AnnotationNetworks: "a", types.AnnotationDefaultNetwork: "b", types.AnnotationNetworkStatus: "[]",
		types.AnnotationConfigSource: "file", types.AnnotationConfigHash: "h", types.AnnotationConfigMirror: "h",
	}
	made := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "d", Name: "p", UID: "u1", ResourceVersion: "7", Labels: map[string]string{"a": "b"},
		Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 1<<16), types.AnnotationResourceName: "r"},
	}}
	for key, value := range annotations {
		made.Annotations[key] = value
	}
	got, ok := podOf(made)
	want := pod{PodObject: k8sclient.PodObject{UID: "u1", ResourceVersion: "7", Annotations: annotations}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pod{})); !ok || diff != "" || !got.whole() {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

// A long annotation takes no more than its hash, and is told apart from any other, also from
// one that looks like a hash.
func TestLongAnnotationsAreAbridged(t *testing.T) {
	long := strings.Repeat("n", maxAnnotation+1)
	for name, annotations := range map[string]map[string]string{
		"networks":        {types.AnnotationNetworks: long},
		"default network": {types.AnnotationDefaultNetwork: long},
	} {
		made := podMeta("p", "u1", "")
		made.Annotations = annotations
		got, _ := podOf(made)
		if got.whole() || got.size() > entrySize+256 {
			t.Errorf("%s: whole %v, %d bytes", name, got.whole(), got.size())
		}
	}
	made := podMeta("p", "u1", "a")
	made.Annotations[types.AnnotationNetworkStatus] = long
	if got, _ := podOf(made); !got.whole() || got.size() > entrySize+256 || got.Annotations[types.AnnotationNetworkStatus] != Abridge(long) {
		t.Errorf("a long status makes it %d bytes, whole: %v", got.size(), got.whole())
	}
	texts := []string{"", "a", strings.Repeat("n", maxAnnotation), long, long + "n", Abridge(long), Abridge(Abridge(long)), abridged}
	for i, a := range texts {
		for j, b := range texts {
			if (Abridge(a) == Abridge(b)) != (i == j) {
				t.Errorf("texts %d and %d are kept alike: %v", i, j, i != j)
			}
		}
	}
	if short := texts[2]; Abridge(short) != short {
		t.Error("a text that may be kept is abridged")
	}
}

// A network of more than the limit is known by its length alone.
func TestLargeNetworksAreNotKept(t *testing.T) {
	for name, test := range map[string]struct {
		config, resource string
		whole            bool
	}{
		"small":                    {config: "{}", resource: "vendor/vf", whole: true},
		"at the limit":             {config: strings.Repeat("x", maxConfig), whole: true},
		"of one letter":            {config: strings.Repeat("x", maxConfig+1)},
		"of noise":                 {config: noise(maxConfig + 1)},
		"with a long resourceName": {config: "{}", resource: strings.Repeat("r", maxAnnotation+1)},
	} {
		definition := nad("n", test.config)
		definition.Annotations = map[string]string{types.AnnotationResourceName: test.resource, "other": "x"}
		got, ok := networkOf(definition)
		if !ok || got.whole() != test.whole || got.length != jsonLength(test.config) {
			t.Errorf("%s: whole %v, length %d", name, got.whole(), got.length)
		}
		if test.whole && (got.config.text() != test.config || got.resourceName != test.resource) {
			t.Errorf("%s: it is another one", name)
		}
		if !test.whole && got.size() != entrySize {
			t.Errorf("%s: it takes %d bytes", name, got.size())
		}
	}
}

func TestJSONLength(t *testing.T) {
	for _, text := range []string{"", "{}", `{"a":"b\c"}`, "\x00\x1f\n\r\t", "<&>", "é\u2028", "\xff\xfe", noise(1000)} {
		encoded, err := json.Marshal(text)
		check.Must(t, err)
		if got := jsonLength(text); got < len(encoded) || strings.IndexFunc(text, func(r rune) bool { return r >= 0x80 }) < 0 && got != len(encoded) {
			t.Errorf("%q: %d bytes, want %d", text, got, len(encoded))
		}
	}
}

// However many objects there are, a store takes no more than its limit and a quarter: of
// what does not fit only the length is kept, then nothing. It is the same whether the
// objects come in a list, as a stream of a list, or one by one.
func TestStoreIsBounded(t *testing.T) {
	const limit = 64 << 10
	objects := make([]any, 1000)
	for i := range objects {
		objects[i] = nad(fmt.Sprint("n", i), noise(1000))
	}
	for name, fill := range map[string]func(*store[network]){
		"list": func(s *store[network]) { check.Must(t, s.Replace(objects, "1")) },
		"stream of a list": func(s *store[network]) {
			arrivals := make([]any, len(objects))
			total := 0
			for i, object := range objects {
				arrived, err := s.Transformer()(object)
				check.Must(t, err)
				arrivals[i] = arrived
				total += arrived.(*arrival[network]).item.size() - entrySize
			}
			if total > limit {
				t.Errorf("a list that arrives takes %d bytes", total)
			}
			check.Must(t, s.Replace(arrivals, "1"))
		},
		"one by one": func(s *store[network]) {
			for _, object := range objects {
				check.Must(t, s.Add(object))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(KindNetworks, limit, networkOf, func(types.Ref) {}, noLog())
			fill(s)
			size := s.size()
			if size.Bytes > limit+limit/bareShare || size.Bytes < limit || size.NotKept+size.Objects < len(objects) {
				t.Errorf("size %+v", size)
			}
			if _, known := s.get(ref("n999")); known {
				t.Error("the last one is known")
			}
			whole, bare := 0, 0
			for _, item := range s.items {
				if item.whole() {
					whole += item.size()
				} else {
					bare++
				}
			}
			if whole == 0 || whole > limit || bare == 0 {
				t.Errorf("whole networks take %d bytes; of %d the length is kept", whole, bare)
			}
			for _, object := range objects {
				check.Must(t, s.Delete(object))
			}
			if size := s.size(); size.Bytes != 0 || size.Objects != 0 {
				t.Errorf("of nothing it has %+v", size)
			}
			check.Must(t, s.Replace(objects[:3], "2"))
			if size := s.size(); size.NotKept != 0 || size.Objects != 3 {
				t.Errorf("of three it has %+v", size)
			}
		})
	}
}

// A list that begins anew has the whole room.
func TestListBeginsAnew(t *testing.T) {
	s := newStore(KindNetworks, 4096, networkOf, func(types.Ref) {}, noLog())
	for range 3 {
		s.listAgain()
		arrived, err := s.Transformer()(nad("a", noise(3000)))
		check.Must(t, err)
		if !arrived.(*arrival[network]).item.whole() {
			t.Error("it is not kept")
		}
	}
}
