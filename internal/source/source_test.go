package source

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// apis are what else a node's configuration may have besides an agent.
var apis = []string{"kubeconfig", "in-cluster", "manifests", "none"}

// fallbacks says who gives the facts, or which error comes, by the agent and by apis:
// with plexus-once, and without.
//
//	agent, once   they gave the facts
//	nothing       facts without any network, as there is no source
//	no-agent      code 11: the agent did not answer
//	again         code 11: the agent said so
//	refused       another error of the agent
//	no-once       code 50: plexus-once is not installed
var fallbacks = []struct{ agent, with, without string }{
	{"not configured", "once once once nothing", "no-once no-once no-once nothing"},
	{"absent", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"stale", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"another user", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"hangs", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"closes", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"half", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"other version", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"no facts", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"other pod", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"same name", "once once once no-agent", "no-once no-once no-once no-agent"},
	{"refuses now", "once once once again", "no-once no-once no-once again"},
	{"refuses", "refused refused once refused", "refused refused no-once refused"},
	{"refuses simply", "refused refused once refused", "refused refused no-once refused"},
	{"ok", "agent agent once agent", "agent agent no-once agent"},
}

func TestFallbacks(t *testing.T) {
	for _, row := range fallbacks {
		t.Run(row.agent, func(t *testing.T) {
			if row.agent == "another user" {
				skipWithoutRoot(t)
			}
			for i, api := range apis {
				t.Run(api, func(t *testing.T) {
					testFallback(t, row.agent, api, installChild(t, "ok"), strings.Fields(row.with)[i])
				})
				t.Run(api+" without plexus-once", func(t *testing.T) {
					testFallback(t, row.agent, api, emptyFolder(t), strings.Fields(row.without)[i])
				})
			}
		})
	}
}

func testFallback(t *testing.T, mode, api, cniPath, want string) {
	ctx, cancel, hung := watchdog(t)
	// Nobody else is asked, so the agent is asked again: the call ends after the first time.
	endAfterOne := want == "no-agent" || want == "again"
	silent := slices.Contains([]string{"absent", "stale", "another user"}, mode)
	if endAfterOne && silent {
		cancel()
	}
	config := &types.Config{}
	agent := configureAgent(t, config, mode, func() {
		if endAfterOne {
			cancel()
		}
	})
	s := newSource(t, config, cniPath)
	setAPI(s, api)
	if mode == "hangs" && !endAfterOne {
		s.patience.agent = 20 * time.Millisecond
	}
	const timeout = types.Duration(5 * time.Second)
	facts, err := s.Facts(ctx, &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}, Timeout: timeout})
	if got := outcome(facts, err); got != want || hung.Load() {
		t.Errorf("got %s: %v; it hung: %v", got, err, hung.Load())
	}
	if agent != nil {
		checkAsked(t, s, agent.stop(t), api != "manifests" && !silent)
	}
	for _, request := range notes[types.Request](t, "requests") {
		if request.Facts.Timeout != timeout {
			t.Errorf("plexus-once has %v, want the %v of the request", request.Facts.Timeout, timeout)
		}
	}
}

// configureAgent puts an agent of a mode into the configuration, and starts it if it
// is one that listens.
func configureAgent(t *testing.T, config *types.Config, mode string, served func()) *fakeAgent {
	t.Helper()
	if mode == "not configured" {
		return nil
	}
	config.AgentSocket = agentSocket(t)
	switch mode {
	case "absent":
		return nil
	case "stale":
		leaveStaleSocket(t, config.AgentSocket)
		return nil
	case "another user":
		return serve(t, listenAsAnotherUser(t, config.AgentSocket), served, agentAnswers["ok"])
	case "hangs":
		return serve(t, listen(t, config.AgentSocket), served)
	}
	answer, known := agentAnswers[mode]
	if !known {
		t.Fatalf("there is no agent of mode %q", mode)
	}
	return serve(t, listen(t, config.AgentSocket), served, answer)
}

func leaveStaleSocket(t *testing.T, path string) {
	t.Helper()
	listener := listen(t, path)
	listener.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// setAPI puts one of apis into a configuration. Manifests come before whatever else it has.
func setAPI(s *Source, api string) {
	switch api {
	case "kubeconfig":
		s.config.Kubeconfig = "/kubeconfig"
	case "in-cluster":
		s.inCluster = true
	case "manifests":
		s.config.Manifests, s.config.Kubeconfig, s.inCluster = "/manifests", "/kubeconfig", true
	}
}

// checkAsked sees that the agent was asked once, and for as long as it is waited for.
func checkAsked(t *testing.T, s *Source, requests []*types.Request, want bool) {
	t.Helper()
	if !want {
		if len(requests) > 0 {
			t.Errorf("the agent was asked %d times, want never", len(requests))
		}
		return
	}
	if len(requests) != 1 {
		t.Fatalf("the agent was asked %d times, want once", len(requests))
	}
	least, most := time.Duration(0), s.patience.agent
	if !s.canAskChild() {
		least, most = s.patience.agent, s.patience.facts
	}
	if got := time.Duration(requests[0].Facts.Timeout); got <= least || got > most {
		t.Errorf("the agent has %v, want more than %v and at most %v", got, least, most)
	}
}

// outcome names what came of a question, with the words of fallbacks.
func outcome(facts *types.Facts, err error) string {
	var wire *types.WireError
	code := types.CodeOf(err, 0)
	switch {
	case err == nil && facts.Pod.Annotations["from"] == "":
		return "nothing"
	case err == nil:
		return facts.Pod.Annotations["from"]
	case errors.As(err, &wire) && code == types.CodeTryAgainLater:
		return "again"
	case errors.As(err, &wire):
		return "refused"
	case errors.Is(err, rpc.ErrNoAnswer) && code == types.CodeTryAgainLater:
		return "no-agent"
	case code == types.CodeNotAvailable:
		return "no-once"
	}
	return "unknown"
}

func TestNewReadsTheEnvironment(t *testing.T) {
	for host, want := range map[string]bool{"": false, "10.0.0.1": true} {
		t.Setenv("KUBERNETES_SERVICE_HOST", host)
		s := New(&types.Config{}, "/state", nil, nil)
		if s.hasAPI() != want || s.patience != defaultPatience {
			t.Errorf("with %q: API %v, %+v", host, s.hasAPI(), s.patience)
		}
	}
}

// Nobody is asked about a pod that names no network, if its annotations are known.
func TestKnownFacts(t *testing.T) {
	pod := types.Pod{Namespace: "ns", Name: "p"}
	selecting := pod
	selecting.Annotations = map[string]string{types.AnnotationNetworks: "net"}
	choosing := pod
	choosing.Annotations = map[string]string{types.AnnotationDefaultNetwork: "net"}
	ref := types.Ref{Namespace: "ns", Name: "net"}
	for name, test := range map[string]struct {
		request types.FactsRequest
		asks    bool
	}{
		"annotations handed over":          {types.FactsRequest{Pod: pod, HasAnnotations: true}, false},
		"no pod":                           {types.FactsRequest{}, false},
		"annotations not handed over":      {types.FactsRequest{Pod: pod}, true},
		"the configuration has a network":  {types.FactsRequest{Pod: pod, HasAnnotations: true, Networks: []types.Ref{ref}}, true},
		"no pod, but a network":            {types.FactsRequest{Networks: []types.Ref{ref}}, true},
		"the pod asks for a network":       {types.FactsRequest{Pod: selecting, HasAnnotations: true}, true},
		"the pod asks for another default": {types.FactsRequest{Pod: choosing, HasAnnotations: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := agentSocket(t)
			pod := test.request.Pod
			answer := &types.Response{Version: types.WireVersion, Facts: &types.Facts{Pod: pod, Networks: []types.Network{{Ref: ref, Config: "{}"}}}}
			agent := serve(t, listen(t, path), nil, marshal(t, answer)+"\n")
			facts, err := newSource(t, &types.Config{AgentSocket: path}, emptyFolder(t)).Facts(t.Context(), &test.request)
			if err != nil {
				t.Fatal(err)
			}
			want, asked := &types.Facts{Pod: pod}, 0
			if test.asks {
				want, asked = answer.Facts, 1
			}
			if diff := cmp.Diff(want, facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			if got := len(agent.stop(t)); got != asked {
				t.Errorf("the agent was asked %d times, want %d", got, asked)
			}
		})
	}
}

// Where there is no source, a network of the configuration is missing, and one that
// the pod asks for has a problem.
func TestNoSource(t *testing.T) {
	pod := types.Pod{Namespace: "ns", Name: "p", Annotations: map[string]string{
		types.AnnotationNetworks: "a,b", types.AnnotationDefaultNetwork: "d",
	}}
	request := &types.FactsRequest{Pod: pod, HasAnnotations: true, MultusNamespace: "multus", Networks: []types.Ref{{Namespace: "x", Name: "y"}}}
	facts, err := newSource(t, &types.Config{}, installChild(t, "ok")).Facts(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	for i := range facts.Networks {
		if (facts.Networks[i].Problem == "") != facts.Networks[i].Missing {
			t.Errorf("network %s: missing %v, problem %q", facts.Networks[i].Ref, facts.Networks[i].Missing, facts.Networks[i].Problem)
		}
		facts.Networks[i].Problem = ""
	}
	want := &types.Facts{Pod: pod, Networks: []types.Network{
		{Ref: types.Ref{Namespace: "x", Name: "y"}, Missing: true},
		{Ref: types.Ref{Namespace: "multus", Name: "d"}},
		{Ref: types.Ref{Namespace: "ns", Name: "a"}},
		{Ref: types.Ref{Namespace: "ns", Name: "b"}},
	}}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

// A pod that is known by half is looked up nowhere but in manifests, by its name. The error says
// what is missing; where no pod is looked up at all there is none.
func TestPodKnownByHalf(t *testing.T) {
	for name, pod := range map[string]types.Pod{"K8S_POD_NAMESPACE": {Name: "p", UID: "u"}, "K8S_POD_NAME": {Namespace: "ns", UID: "u"}} {
		for _, api := range append([]string{"agent"}, apis...) {
			t.Run(name+" is missing, "+api, func(t *testing.T) {
				config := &types.Config{}
				if api == "agent" {
					config.AgentSocket = agentSocket(t)
				}
				s := newSource(t, config, installChild(t, "ok"))
				setAPI(s, api)
				facts, err := s.Facts(t.Context(), &types.FactsRequest{Pod: pod, Timeout: types.Duration(5 * time.Second)})
				switch {
				case api == "none":
					if err != nil || facts.Pod.String() != "(no pod)" {
						t.Errorf("got %v, %v", facts, err)
					}
				case api == "manifests" && pod.Name != "":
					if got := outcome(facts, err); got != "once" {
						t.Errorf("got %s: %v", got, err)
					}
				case types.CodeOf(err, 0) != types.CodeInvalidEnv || !strings.Contains(err.Error(), name+" is missing"):
					t.Errorf("got %v, %v", facts, err)
				}
			})
		}
	}
}
