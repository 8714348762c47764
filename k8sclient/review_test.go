package k8sclient

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestUserOfToken(t *testing.T) {
	const secret = "s3cret.token"
	for name, test := range map[string]struct {
		answer  answer
		user    *User
		refused bool
		want    []string
	}{
		"somebody's": {
			answer: answer{code: 201, body: `{"status":{"authenticated":true,"user":{"username":"u","uid":"1","groups":["g"],"extra":{"a":["b"]}}}}`},
			user:   &User{Name: "u", UID: "1", Groups: []string{"g"}, Extra: map[string][]string{"a": {"b"}}},
		},
		"nobody's":        {answer: answer{code: 201, body: `{"status":{"error":"invalid bearer token","user":{}}}`}, refused: true},
		"without a name":  {answer: answer{code: 201, body: `{"status":{"authenticated":true,"user":{}}}`}, refused: true},
		"no sense":        {answer: answer{code: 201, body: `[]`}, want: []string{"make TokenReview", "the answer is none"}},
		"not to be asked": {answer: refusal(403, "x"), want: []string{"make TokenReview", "403"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(test.answer)
			user, err := c.UserOfToken(t.Context(), secret)
			if diff := cmp.Diff(test.user, user); diff != "" || errors.Is(err, ErrTokenRefused) != test.refused || (err == nil) != (test.user != nil) {
				t.Fatalf("got %v: %s", err, diff)
			}
			if test.want != nil {
				check.Error(t, err, test.want...)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error has the token: %v", err)
			}
			want := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + secret + `"}}`
			if path := s.requests[0].URL.Path; path != "/base/apis/authentication.k8s.io/v1/tokenreviews" || s.bodies[0] != want {
				t.Errorf("it asked %s %s", path, s.bodies[0])
			}
		})
	}
}

func TestMayGet(t *testing.T) {
	for name, test := range map[string]struct {
		answer  answer
		allowed bool
		want    []string
	}{
		"allowed":         {answer: answer{code: 201, body: `{"status":{"allowed":true}}`}, allowed: true},
		"not allowed":     {answer: answer{code: 201, body: `{"status":{"allowed":false,"reason":"x"}}`}},
		"no answer to it": {answer: answer{code: 201, body: `{}`}},
		"away":            {answer: refusal(500, "x"), want: []string{"make SubjectAccessReview", "500"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(test.answer)
				user := &User{Name: "u", UID: "1", Groups: []string{"g"}, Extra: map[string][]string{"a": {"b"}}}
				allowed, err := c.MayGet(t.Context(), user, "/metrics")
				if allowed != test.allowed || (err == nil) != (test.want == nil) {
					t.Fatalf("got %v, %v", allowed, err)
				}
				if test.want != nil {
					check.Error(t, err, test.want...)
				}
				const want = `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"extra":{"a":["b"]},"groups":["g"],` +
					`"nonResourceAttributes":{"path":"/metrics","verb":"get"},"uid":"1","user":"u"}}`
				if path := s.requests[0].URL.Path; path != "/base/apis/authorization.k8s.io/v1/subjectaccessreviews" || s.bodies[0] != want {
					t.Errorf("it asked %s %s", path, s.bodies[0])
				}
			})
		})
	}
}
