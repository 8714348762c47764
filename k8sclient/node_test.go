package k8sclient

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

func ok(body string) answer { return answer{code: 200, body: body} }

func TestRemoveTaint(t *testing.T) {
	const (
		ours   = `{"key":"plexus-cni.io/not-ready","effect":"NoSchedule","newField":{"a":1}}`
		second = `{"key":"plexus-cni.io/not-ready","effect":"NoExecute"}`
		other  = `{"key":"node.kubernetes.io/unreachable","effect":"NoSchedule","timeAdded":"2026-11-28T12:00:00Z"}`
	)
	node := func(taints string) answer { return ok(`{"spec":{"podCIDR":"10.0.0.0/24","taints":` + taints + `}}`) }
	patch := func(before, after string) string {
		return `[{"op":"test","path":"/spec/taints","value":` + before + `},{"op":"replace","path":"/spec/taints","value":` + after + `}]`
	}
	for name, tc := range map[string]struct {
		answers []answer
		removed bool
		patch   string // "" for none
		want    []string
	}{
		"the only one":           {[]answer{node("[" + ours + "]"), ok("{}")}, true, patch("["+ours+"]", "[]"), nil},
		"others stay":            {[]answer{node("[" + ours + "," + other + "]"), ok("{}")}, true, patch("["+ours+","+other+"]", "["+other+"]"), nil},
		"of every effect":        {[]answer{node("[" + ours + "," + second + "]"), ok("{}")}, true, patch("["+ours+","+second+"]", "[]"), nil},
		"none of that key":       {[]answer{node("[" + other + "]")}, false, "", nil},
		"none at all":            {[]answer{ok(`{"spec":{}}`)}, false, "", nil},
		"no node":                {[]answer{refusal(404, "x")}, false, "", []string{"node worker-1", "no node of this name"}},
		"not to be read":         {[]answer{refusal(403, "x")}, false, "", []string{"read node worker-1", "403"}},
		"not to be patched":      {[]answer{node("[" + ours + "]"), refusal(403, "x")}, false, patch("["+ours+"]", "[]"), []string{"remove taint plexus-cni.io/not-ready from node worker-1", "403"}},
		"they changed meanwhile": {[]answer{node("[" + ours + "]"), refusal(422, "the test failed")}, false, patch("["+ours+"]", "[]"), []string{"the test failed"}},
		"an answer of no sense":  {[]answer{ok(`[]`)}, false, "", []string{"read node worker-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(tc.answers...)
				removed, err := c.RemoveTaint(t.Context(), "worker-1", "plexus-cni.io/not-ready")
				if removed != tc.removed || (err == nil) != (tc.want == nil) {
					t.Fatalf("got %v, %v", removed, err)
				}
				if tc.want != nil {
					check.Error(t, err, tc.want...)
				}
				last := len(s.requests) - 1
				if r := s.requests[last]; (r.Method == http.MethodPatch) != (tc.patch != "") || r.URL.Path != "/base/api/v1/nodes/worker-1" {
					t.Fatalf("the last request is %s %s", r.Method, r.URL)
				}
				if diff := cmp.Diff(tc.patch, s.bodies[last]); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestNodeExists(t *testing.T) {
	c, _ := scripted(ok(`{"spec":{}}`), refusal(404, "x"))
	check.Must(t, c.NodeExists(t.Context(), "worker-1"))
	if err := c.NodeExists(t.Context(), "worker-2"); !errors.Is(err, ErrNodeNotFound) {
		t.Errorf("got %v", err)
	}
	if err := c.NodeExists(t.Context(), "../pods"); err == nil {
		t.Error("a name that is no segment of a path is asked for")
	}
}

func TestRunsElsewhere(t *testing.T) {
	pod := &types.Pod{Namespace: "ns", Name: "p", UID: "u"}
	const found, none = `{"metadata":{"uid":"u"}}`, `{"items":[]}`
	for name, tc := range map[string]struct {
		answers []answer
		want    bool
		fault   string
	}{
		"on another node":            {[]answer{ok(none), ok(found)}, true, ""},
		"the mirror, elsewhere":      {[]answer{ok(none), ok(`{"metadata":{"uid":"m","annotations":{"kubernetes.io/config.mirror":"u"}}}`)}, true, ""},
		"here":                       {[]answer{ok(`{"items":[{"metadata":{"name":"p"}}]}`)}, false, ""},
		"deleted meanwhile":          {[]answer{ok(none), refusal(404, "x")}, false, ""},
		"another pod of that name":   {[]answer{ok(none), ok(`{"metadata":{"uid":"v"}}`)}, false, ""},
		"not to be listed":           {[]answer{refusal(403, "x")}, false, "look for pod ns/p on node worker-1"},
		"not to be read":             {[]answer{ok(none), refusal(403, "x")}, false, "read pod ns/p"},
		"a list that makes no sense": {[]answer{ok(`[]`)}, false, "look for pod ns/p on node worker-1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(tc.answers...)
			got, err := c.RunsElsewhere(t.Context(), pod, "worker-1")
			if got != tc.want || (err == nil) != (tc.fault == "") {
				t.Fatalf("got %v, %v", got, err)
			}
			if tc.fault != "" {
				check.Error(t, err, tc.fault)
			}
			check.Equal(t, "requests", len(s.requests), len(tc.answers))
			if len(s.requests) > 0 {
				check.Equal(t, "asked", s.requests[0].URL.Query().Get("fieldSelector"), "metadata.name=p,spec.nodeName=worker-1")
			}
		})
	}
}

func TestRunning(t *testing.T) {
	for name, tc := range map[string]struct {
		answer answer
		want   string
		fault  string
	}{
		"two":                        {ok(`{"items":[{"metadata":{"name":"p","uid":"u"}},{"metadata":{"name":"q","uid":"v"}}]}`), "map[u:true v:true]", ""},
		"none":                       {ok(`{"items":[]}`), "map[]", ""},
		"not to be listed":           {refusal(403, "x"), "map[]", "list the pods that run on node worker-1"},
		"a list that makes no sense": {ok(`[]`), "map[]", "list the pods that run on node worker-1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(tc.answer)
			got, err := c.Running(t.Context(), "worker-1")
			check.Equal(t, "pods", fmt.Sprint(got), tc.want)
			if (err == nil) != (tc.fault == "") {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				check.Error(t, err, tc.fault)
			}
			check.Equal(t, "asked", s.requests[0].URL.Query().Get("fieldSelector"), "spec.nodeName=worker-1,spec.hostNetwork=false,status.phase=Running")
		})
	}
}

func TestNodeOfToken(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	bound := token(`{"kubernetes.io":{"node":{"name":"worker-1","uid":"u"},"pod":{"name":"agent"}}}`)
	file := filepath.Join(t.TempDir(), "token")
	check.Must(t, os.WriteFile(file, []byte(bound), 0o600))
	for name, tc := range map[string]struct {
		config rest.Config
		want   string
	}{
		"bound to a pod":         {rest.Config{BearerToken: bound}, "worker-1"},
		"of a file":              {rest.Config{BearerTokenFile: file, BearerToken: "old"}, "worker-1"},
		"the file is not there":  {rest.Config{BearerTokenFile: file + "x"}, ""},
		"bound to no pod":        {rest.Config{BearerToken: token(`{"kubernetes.io":{"namespace":"ns"}}`)}, ""},
		"of an older API server": {rest.Config{BearerToken: token(`{"kubernetes.io":{"pod":{"name":"agent"}}}`)}, ""},
		"of somebody else":       {rest.Config{BearerToken: token(`{"kubernetes.io":"x"}`)}, ""},
		"not a token of claims":  {rest.Config{BearerToken: "secret"}, ""},
		"broken":                 {rest.Config{BearerToken: "a.%.b"}, ""},
		"none":                   {rest.Config{}, ""},
	} {
		check.Equal(t, name, NodeOfToken(&tc.config), tc.want)
	}
}
