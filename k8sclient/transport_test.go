package k8sclient

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// A redirect is an answer, and no other server gets the credentials.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- "elsewhere " + r.URL.Path }))
	defer elsewhere.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		http.Redirect(w, r, elsewhere.URL+"/stolen", http.StatusFound)
	}))
	defer server.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := writeKubeconfig(t, "server: '"+server.URL+"', certificate-authority-data: "+b64(string(authority)), "token: t", nil)
	forOneCall, err := New(Options{Kubeconfig: path})
	if err != nil {
		t.Fatal(err)
	}
	resident, err := NewResident(&rest.Config{Host: server.URL}, server.Client(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Client{"for one call": forOneCall, "resident": resident} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
			check.Error(t, err, "302 Found")
			if first := <-asked; first != podURL || len(asked) != 0 {
				t.Errorf("%s was asked first, and %d more", first, len(asked))
			}
		})
	}
}

// stuck is a transport with a credential plugin that hangs, whatever the context says.
type stuck chan struct{}

func (s stuck) RoundTrip(*http.Request) (*http.Response, error) {
	<-s
	return nil, http.ErrServerClosed
}

// TestCredentialPluginThatHangs runs in a bubble of its own time.
func TestCredentialPluginThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted()
		hanging := make(stuck)
		defer close(hanging)
		c.http.Transport = hanging
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.ReadPod(ctx, &types.Pod{Namespace: "ns", Name: "p"})
		check.Error(t, err, "no answer")
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
