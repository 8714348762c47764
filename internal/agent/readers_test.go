package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexus-cni/plexus/internal/probes"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/pki"
	"github.com/plexus-cni/plexus/k8sclient"
)

const theToken = "the.good.token"

// tokens is an API server that knows who has which token.
type tokens struct {
	users   map[string]string
	readers []string
	away    error
	// hold keeps every question until it is closed.
	hold chan struct{}

	questions, asking, most atomic.Int32
}

func (a *tokens) UserOfToken(ctx context.Context, token string) (*k8sclient.User, error) {
	a.questions.Add(1)
	a.most.Store(max(a.most.Load(), a.asking.Add(1)))
	defer a.asking.Add(-1)
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if a.away != nil {
		return nil, a.away
	}
	if user, there := a.users[token]; there {
		return &k8sclient.User{Name: user}, nil
	}
	return nil, k8sclient.ErrTokenRefused
}

func (a *tokens) MayGet(_ context.Context, user *k8sclient.User, path string) (bool, error) {
	for _, reader := range a.readers {
		if reader == user.Name+" "+path {
			return true, nil
		}
	}
	return false, nil
}

func newTokens() *tokens {
	return &tokens{users: map[string]string{theToken: "prometheus", "other": "tenant"}, readers: []string{"prometheus /metrics"}}
}

// asker makes requests of a handler whose readers ask api, which may be nil.
func asker(api reviewer, log io.Writer) func(path, header string) *httptest.ResponseRecorder {
	r := newReaders(slog.New(slog.NewTextHandler(log, nil)))
	if api != nil {
		r.ask(api)
	}
	handler := (&httpServer{ready: func() error { return nil }, metrics: newMetrics(), readers: r, log: noLog()}).handler()
	return func(path, header string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		if header != "" {
			request.Header.Set("Authorization", header)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer
	}
}

func TestReaders(t *testing.T) {
	away := newTokens()
	away.away = errors.New("connection refused by 10.0.0.1")
	for name, test := range map[string]struct {
		api          reviewer
		path, header string
		status       int
		body         string
	}{
		"no token":                {newTokens(), "/metrics", "", 401, "metrics need a bearer token"},
		"a password":              {newTokens(), "/metrics", "Basic " + theToken, 401, "metrics need a bearer token"},
		"an empty token":          {newTokens(), "/metrics", "Bearer  ", 401, "metrics need a bearer token"},
		"a bad token":             {newTokens(), "/metrics", "Bearer bad", 401, "does not accept this token"},
		"nobody who may":          {newTokens(), "/metrics", "Bearer other", 403, "tenant may not get the nonResourceURL /metrics"},
		"a good token":            {newTokens(), "/metrics", "Bearer " + theToken, 200, "plexus_build_info{"},
		"in other letters":        {newTokens(), "/metrics", "bearer  " + theToken + " ", 200, "plexus_build_info{"},
		"the API server is away":  {away, "/metrics", "Bearer " + theToken, 503, "cannot check the token now"},
		"no credentials yet":      {nil, "/metrics", "Bearer " + theToken, 503, "cannot check the token now"},
		"the kubelet's readiness": {newTokens(), "/readyz", "", 200, "ok"},
		"the kubelet's liveness":  {newTokens(), "/livez", "Bearer bad", 200, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			answer := asker(test.api, &log)(test.path, test.header)
			if body := answer.Body.String(); answer.Code != test.status || !strings.Contains(body, test.body) || strings.Contains(body, "10.0.0.1") {
				t.Errorf("got %d %q, want %d %q", answer.Code, body, test.status, test.body)
			}
			if challenge := answer.Header().Get("WWW-Authenticate"); (challenge == "Bearer") != (test.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
			if test.status == http.StatusServiceUnavailable != strings.Contains(log.String(), "cannot be checked") || strings.Contains(log.String(), theToken) {
				t.Errorf("the log is %q", &log)
			}
		})
	}
}

// An answer of the API server counts for a while, and no longer; no answer is not kept.
func TestReadersAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newTokens()
		var log bytes.Buffer
		ask := asker(api, &log)
		expect := func(what, token string, status, questions int) {
			t.Helper()
			if answer := ask("/metrics", "Bearer "+token); answer.Code != status || int(api.questions.Load()) != questions {
				t.Errorf("%s: got %d with %d questions, want %d with %d", what, answer.Code, api.questions.Load(), status, questions)
			}
		}
		expect("a good token", theToken, 200, 1)
		time.Sleep(acceptedFor - time.Second)
		expect("it is known", theToken, 200, 1)
		delete(api.users, theToken)
		time.Sleep(2 * time.Second)
		expect("it is taken back", theToken, 401, 2)
		api.users[theToken] = "prometheus"
		time.Sleep(refusedFor - time.Second)
		expect("it is refused for a while", theToken, 401, 2)
		time.Sleep(2 * time.Second)
		expect("it is accepted again", theToken, 200, 3)
		time.Sleep(acceptedFor + time.Second)
		api.away = errors.New("away")
		expect("nobody answers", theToken, 503, 4)
		expect("nobody answers again", theToken, 503, 5)
		if got := strings.Count(log.String(), "cannot be checked"); got != 1 {
			t.Errorf("%d warnings, want one a minute:\n%s", got, &log)
		}
		api.away = nil
		expect("it answers", theToken, 200, 6)
	})
}

// A flood of tokens takes no memory, and does not drive out the good one.
func TestReadersBounds(t *testing.T) {
	api := newTokens()
	r := newReaders(noLog())
	r.ask(api)
	try := func(token string) int {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Authorization", "Bearer "+token)
		return r.judge(request).status
	}
	try(theToken)
	for i := range 10 * maxRefused {
		try(fmt.Sprint("bad", i))
		api.users[fmt.Sprint("good", i)] = "prometheus"
	}
	if got := len(r.refused.Keys()); got != maxRefused {
		t.Errorf("%d refused tokens are kept, want %d", got, maxRefused)
	}
	before := api.questions.Load()
	if status := try(theToken); status != http.StatusOK || api.questions.Load() != before {
		t.Errorf("got %d with %d questions more", status, api.questions.Load()-before)
	}
	for i := range 10 * maxAccepted {
		try(fmt.Sprint("good", i))
	}
	if got := len(r.accepted.Keys()); got != maxAccepted {
		t.Errorf("%d accepted tokens are kept, want %d", got, maxAccepted)
	}
}

// Few questions are asked at a time; who waits too long for a turn, or for an answer, is told so.
func TestReadersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newTokens()
		api.hold = make(chan struct{})
		ask := asker(api, io.Discard)
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 3 * maxReviews {
			all.Go(func() {
				if answer := ask("/metrics", fmt.Sprint("Bearer ", i)); answer.Code != http.StatusServiceUnavailable {
					t.Errorf("got %d", answer.Code)
				}
			})
		}
		all.Wait()
		if took, most := time.Since(begin), api.most.Load(); took != reviewTimeout || most != maxReviews {
			t.Errorf("it took %s, with %d questions at a time", took, most)
		}
	})
}

// Many requests with one token are one question.
func TestReadersShareAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newTokens()
		api.hold = make(chan struct{})
		ask := asker(api, io.Discard)
		var all sync.WaitGroup
		for range 4 * maxReviews {
			all.Go(func() { ask("/metrics", "Bearer "+theToken) })
		}
		synctest.Wait()
		close(api.hold)
		all.Wait()
		if got := api.questions.Load(); got > maxReviews {
			t.Errorf("%d questions, want at most %d", got, maxReviews)
		}
	})
}

func TestAuthenticationNeedsTLS(t *testing.T) {
	certificate, key := pki.New(t).Issue(t, t.TempDir(), "x")
	for name, test := range map[string]struct {
		cert, key string
		want      []string
	}{
		"no certificate":      {want: []string{"--metrics-authentication", "--metrics-tls-cert"}},
		"a key alone":         {key: key, want: []string{"--metrics-authentication", "--metrics-tls-cert"}},
		"a certificate alone": {cert: certificate, want: []string{"--metrics-tls-key"}},
		"both":                {cert: certificate, key: key},
	} {
		opts := Options{NodeName: "n", Socket: "/s", StateDir: "/d", MetricsAuthentication: true, MetricsCert: test.cert, MetricsKey: test.key}
		err := opts.check()
		if err == nil {
			_, err = probes.LoadCertificate(opts.MetricsCert, opts.MetricsKey)
		}
		if test.want == nil {
			check.Must(t, err)
			continue
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		check.Error(t, err, test.want...)
	}
}
