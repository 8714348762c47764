package k8sclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// script is a server that answers each request with the next of its answers, and
// with the last one for ever.
type script struct {
	answers  []answer
	requests []*http.Request
	bodies   []string
}

type answer struct {
	code       int
	body       string
	retryAfter string
	err        error
	hang       bool // until the caller gives up
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
	a := s.answers[min(len(s.requests), len(s.answers))-1]
	if a.hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	header := http.Header{}
	if a.retryAfter != "" {
		header.Set("Retry-After", a.retryAfter)
	}
	return &http.Response{StatusCode: a.code, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(a.body)))}, nil
}

func scripted(answers ...answer) (*Client, *script) {
	s := &script{answers: answers}
	server, _ := url.Parse("https://api.example:6443/base")
	return &Client{http: &http.Client{Transport: s}, server: server, header: http.Header{}, nodeName: "n1"}, s
}

func refusal(code int, message string) answer {
	reason := strings.ReplaceAll(http.StatusText(code), " ", "")
	return answer{code: code, body: `{"kind":"Status","message":"` + message + `","reason":"` + reason + `"}`}
}

var (
	refused = &net.OpError{Op: "dial", Net: "tcp", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}
	behind  = refusal(403, `pods \"p\" is forbidden: User \"system:node:n\" cannot get resource: no relationship found between node 'n' and this object`)
)

// TestRetries runs in a bubble of its own time.
func TestRetries(t *testing.T) {
	good := answer{code: 200, body: `{"metadata":{"uid":"u"}}`}
	for name, test := range map[string]struct {
		answers  []answer
		attempts int
		code     uint // of the error; 0 for none expected
		want     []string
		atMost   time.Duration
		atLeast  time.Duration
	}{
		"at once":               {answers: []answer{good}, attempts: 1},
		"409":                   {answers: []answer{refusal(409, "x"), good}, attempts: 2, atMost: time.Second},
		"429":                   {answers: []answer{refusal(429, "x"), good}, attempts: 2, atMost: time.Second},
		"429 with Retry-After":  {answers: []answer{{code: 429, retryAfter: "7"}, good}, attempts: 2, atLeast: 7 * time.Second, atMost: 8 * time.Second},
		"429 for too long":      {answers: []answer{{code: 429, body: "slow down", retryAfter: "60"}}, attempts: 1, code: 11, want: []string{"slow down"}},
		"500 and 503":           {answers: []answer{refusal(500, "x"), refusal(503, "x"), good}, attempts: 3, atMost: time.Second},
		"504 from a proxy":      {answers: []answer{{code: 504, body: "<html>\nx"}, good}, attempts: 2, atMost: time.Second},
		"refused":               {answers: []answer{{err: refused}, good}, attempts: 2, atMost: time.Second},
		"reset":                 {answers: []answer{{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, good}, attempts: 2, atMost: time.Second},
		"end of stream":         {answers: []answer{{err: io.EOF}, {err: io.ErrUnexpectedEOF}, good}, attempts: 3, atMost: time.Second},
		"GOAWAY":                {answers: []answer{{err: errors.New("http2: server sent GOAWAY and closed the connection")}, good}, attempts: 2, atMost: time.Second},
		"one that hangs":        {answers: []answer{{hang: true}, good}, attempts: 2, atLeast: 10 * time.Second, atMost: 11 * time.Second},
		"hangs for ever":        {answers: []answer{{hang: true}}, attempts: 3, code: 11, want: []string{"3 attempts in 2", "no answer"}, atMost: 30 * time.Second},
		"refused for ever":      {answers: []answer{{err: refused}}, code: 11, want: []string{"read pod ns/p at https://api.example:6443/base", "connection refused", "attempts in 2"}, atLeast: 25 * time.Second, atMost: 30 * time.Second},
		"503 for ever":          {answers: []answer{refusal(503, "no leader")}, code: 11, want: []string{"503 Service Unavailable: no leader"}, atMost: 30 * time.Second},
		"node graph behind":     {answers: []answer{behind, behind, good}, attempts: 3, atMost: 2 * time.Second},
		"node graph never":      {answers: []answer{behind}, code: 11, want: []string{"no relationship found", "deleted, or bound to another node"}, atLeast: 4 * time.Second, atMost: 10 * time.Second},
		"401":                   {answers: []answer{refusal(401, "Unauthorized")}, attempts: 1, code: 99, want: []string{"401"}},
		"403":                   {answers: []answer{refusal(403, "no")}, attempts: 1, code: 99, want: []string{"403 Forbidden: no"}},
		"404":                   {answers: []answer{refusal(404, `pods \"p\" not found`)}, attempts: 1, code: 99, want: []string{"pod ns/p: not found"}},
		"422":                   {answers: []answer{refusal(422, "bad")}, attempts: 1, code: 99, want: []string{"422"}},
		"400 from a proxy":      {answers: []answer{{code: 400, body: `{"error":"who are you"}`}}, attempts: 1, code: 99, want: []string{`400 Bad Request: {"error":"who are you"}`}},
		"a redirect":            {answers: []answer{{code: 302, body: ""}}, attempts: 1, code: 99, want: []string{"302 Found"}},
		"certificate refused":   {answers: []answer{{err: &net.OpError{Op: "remote error", Err: tls.AlertError(42)}}}, attempts: 1, code: 99, want: []string{"bad certificate"}},
		"an answer of nonsense": {answers: []answer{{code: 200, body: "<"}}, attempts: 1, code: 99, want: []string{"read pod ns/p", "invalid character"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(test.answers...)
				begin := time.Now()
				_, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
				took := time.Since(begin)
				if test.code == 0 && err != nil {
					t.Fatal(err)
				}
				if test.code != 0 {
					check.Error(t, err, test.want...)
					if got := types.CodeOf(err, 99); got != test.code {
						t.Errorf("code %d, want %d", got, test.code)
					}
				}
				if test.attempts != 0 && len(s.requests) != test.attempts {
					t.Errorf("%d attempts, want %d", len(s.requests), test.attempts)
				}
				if took < test.atLeast || took > max(test.atMost, test.atLeast) {
					t.Errorf("took %s, want %s to %s", took, test.atLeast, test.atMost)
				}
			})
		})
	}
}

// The reason of a failed call is that of the last attempt which had time to fail by itself.
func TestReasonWhenTimeRunsOut(t *testing.T) {
	for name, test := range map[string]struct {
		time   time.Duration
		reason string
	}{
		"the last attempt had hardly begun": {time.Second, "connection refused"},
		"the last attempt had its time":     {5 * time.Second, "no answer within 4"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(answer{err: refused}, answer{err: refused}, answer{hang: true})
				ctx, cancel := context.WithTimeout(t.Context(), test.time)
				defer cancel()
				_, err := c.do(ctx, &call{what: "read pod ns/p", method: http.MethodGet})
				check.Error(t, err, "gave up after 3 attempts", test.reason)
				check.Equal(t, "attempts", len(s.requests), 3)
			})
		})
	}
}

func TestFactsKeepTheCallersTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(answer{hang: true})
		begin := time.Now()
		_, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}, Timeout: types.Duration(2 * time.Second)})
		check.Error(t, err, "no answer")
		if took := time.Since(begin); took >= 2*time.Second {
			t.Errorf("answered after %s, the caller waits 2 s", took)
		}
	})
}

// A name leads to no other object than the one of that name, whoever made it up.
func TestNamesStayInTheirSegments(t *testing.T) {
	for _, name := range []string{"../../kube-system", "..", ".", "", "a/b", "a%2fb", "%2e%2e"} {
		for _, pod := range []types.Pod{{Namespace: name, Name: "p"}, {Namespace: "ns", Name: name}} {
			c, s := scripted(answer{code: 200, body: `{"metadata":{"uid":"u"}}`})
			if pod.Known() {
				_, err := c.ReadPod(t.Context(), &pod)
				check.Error(t, err, "not the name of an object")
			}
			networks, err := c.ReadNetworks(t.Context(), []types.Ref{{Namespace: pod.Namespace, Name: pod.Name}})
			check.Must(t, err)
			if len(s.requests) > 0 || networks[0].Problem == "" || networks[0].Missing {
				t.Errorf("%q: asked %d times, %+v", name, len(s.requests), networks[0])
			}
		}
	}
	for _, name := range []string{"a?b", "a#b", "a b", "a;b"} {
		c, s := scripted(answer{code: 200, body: `{"metadata":{"uid":"u"}}`})
		_, err := c.ReadPod(t.Context(), &types.Pod{Namespace: "ns", Name: name})
		check.Must(t, err)
		if got := s.requests[0].URL; got.Path != "/base/api/v1/namespaces/ns/pods/"+name || got.RawQuery+got.Fragment != "" {
			t.Errorf("%q: asked for %s", name, got)
		}
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	c, s := scripted(answer{hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.do(ctx, &call{what: "x", method: http.MethodGet}); err == nil || len(s.requests) > 1 {
		t.Errorf("got %v after %d attempts", err, len(s.requests))
	}
}

func TestErrorsShowNoBodyOfAPod(t *testing.T) {
	c, _ := scripted(answer{code: 200, body: `{"metadata":{"uid":1,"annotations":{"secret":"hunter2"}}}`})
	_, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
	check.Error(t, err, "uid")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
