package watched

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	nadv1 "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A list that is torn, or is none, is an error: what is missing in it would count as gone.
func TestReadListTorn(t *testing.T) {
	whole := `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{"a":1},{"a":2}]}`
	read := func(text string) (items int, version string, err error) {
		decoder := json.NewDecoder(strings.NewReader(text))
		meta, err := readList(decoder, func() error {
			items++
			return decoder.Decode(new(map[string]int))
		})
		return items, meta.ResourceVersion, err
	}
	for _, text := range []string{whole, `{"items":[{"a":1},{"a":2}],"metadata":{"resourceVersion":"5","x":{}},"more":[{}]}`} {
		if items, version, err := read(text); err != nil || items != 2 || version != "5" {
			t.Errorf("%s: %d items of version %q, %v", text, items, version, err)
		}
	}
	if items, version, err := read(`{"items":null,"metadata":{"resourceVersion":"5"}}`); err != nil || items != 0 || version != "5" {
		t.Errorf("no items: %d items of version %q, %v", items, version, err)
	}
	for length := range whole {
		if _, _, err := read(whole[:length]); err == nil {
			t.Errorf("%s: it is taken for a list", whole[:length])
		}
	}
	if _, _, err := read(whole[:len(whole)-1]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the end is missing: %v", err)
	}
	for _, text := range []string{"[]", `{"items":{}}`, `{"items":[1]}`, "null", "text"} {
		if _, _, err := read(text); err == nil {
			t.Errorf("%s: it is taken for a list", text)
		}
	}
}

// A list in one piece, as old API servers send it, is reduced as it arrives: here, while its
// second half is still to come.
func TestListIsReducedAsItArrives(t *testing.T) {
	s, _ := newTestStore()
	arrived := func() error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if s.listing != 2*entrySize {
			return fmt.Errorf("what has arrived takes %d bytes", s.listing)
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		first, second, _ := strings.Cut(fmt.Sprintf(nadList, networkJSON("a", strings.Repeat("a", 1<<20))+","+networkJSON("b", strings.Repeat("b", 1<<20))+"|,"+networkJSON("c", "C")), "|")
		_, _ = io.WriteString(w, first)
		w.(http.Flusher).Flush()
		check.Eventually(t, "the first half to be reduced", patience, arrived)
		_, _ = io.WriteString(w, second)
	}))
	defer server.Close()
	opts := &Options{Config: &rest.Config{Host: server.URL, QPS: -1}, HTTP: server.Client()}
	client, err := jsonClient(opts, "/apis", nadv1.SchemeGroupVersion, metainternalversion.Codecs.WithoutConversion())
	check.Must(t, err)
	s.listing = 1 << 30 // of a list that broke
	listed, err := list(t.Context(), client.Get(), &metav1.ListOptions{}, s, func() any { return &nadv1.NetworkAttachmentDefinition{} })
	check.Must(t, err)
	if got := listed.(*internalversion.List); len(got.Items) != 3 || got.ResourceVersion != "5" {
		t.Errorf("got %d items of version %s", len(got.Items), got.ResourceVersion)
	}
}

// The watch and the list leave out pods that have finished.
func TestFinishedPodsAreNotWatched(t *testing.T) {
	s := newAPIServer(t)
	s.set(KindPods, fmt.Sprintf(podList, podJSON("web", "u1")))
	s.set(KindNetworks, fmt.Sprintf(nadList, ""))
	c, _ := watching(t, s)
	check.Must(t, c.Synced(t.Context()))
	s.watches[KindPods] <- watchEvent{} // the watch is there
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, query := range s.queries[KindPods] {
		for _, phase := range []string{"Succeeded", "Failed"} {
			if !strings.Contains(query, "status.phase%21%3D"+phase) {
				t.Errorf("pods that are %s are asked for: %s", phase, query)
			}
		}
	}
	if len(s.queries[KindPods]) < 2 {
		t.Errorf("it asked %v", s.queries[KindPods])
	}
}
