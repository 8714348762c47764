package source

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

var (
	event    = types.PodEvent{Type: types.EventNormal, Reason: types.ReasonAddedInterface, Message: "m"}
	plain    = types.PodEvent{Type: types.EventNormal, Reason: types.ReasonAddedInterface, Message: "of a plain pod", Plain: true}
	report   = &types.CallReport{Command: "ADD", ContainerID: "c"}
	networks = []types.NetworkStatus{{Name: "net"}}
)

// A sent is what somebody gets to publish, of what full has.
type sent struct {
	Status bool
	Events []types.PodEvent
	Report bool
}

func sentBy(requests []*types.Request) *sent {
	var got *sent
	for _, request := range requests {
		if p := request.Publish; p != nil {
			got = &sent{Status: cmp.Equal(p.Status, networks), Events: p.Events, Report: cmp.Equal(p.Report, report)}
		}
	}
	return got
}

func TestPublish(t *testing.T) {
	var (
		nothing   = types.PublishRequest{Report: report}
		full      = types.PublishRequest{Status: networks, Events: []types.PodEvent{plain, event}, Report: report}
		plainOnly = types.PublishRequest{Events: []types.PodEvent{plain}, Report: report}
		eventOnly = types.PublishRequest{Events: []types.PodEvent{event, plain}, Report: report}
		everyone  = []types.PodEvent{plain, event}
		byChild   = &sent{Status: true, Events: []types.PodEvent{event}, Report: true}
	)
	for name, test := range map[string]struct {
		agent, api string
		started    bool // plexus-once, by the question for the facts
		request    types.PublishRequest
		settled    bool
		toAgent    *sent
		toChild    *sent
	}{
		"nobody":                              {agent: "not configured", api: "none", request: full, settled: true},
		"manifests":                           {agent: "ok", api: "manifests", started: true, request: full, settled: true},
		"an agent":                            {agent: "ok", api: "none", request: full, toAgent: &sent{Events: everyone, Report: true}},
		"an agent, a report alone":            {agent: "ok", api: "none", request: nothing, toAgent: &sent{Report: true}},
		"an agent that hangs":                 {agent: "hangs", api: "kubeconfig", request: full, toAgent: &sent{Events: everyone, Report: true}},
		"no agent":                            {agent: "absent", api: "none", request: full},
		"an agent, beside a kubeconfig":       {agent: "ok", api: "kubeconfig", request: full, toAgent: &sent{Events: everyone, Report: true}},
		"an agent, and plexus-once":           {agent: "ok", api: "kubeconfig", started: true, request: full, settled: true, toAgent: &sent{Report: true}, toChild: byChild},
		"an agent, and plexus-once, a report": {agent: "ok", api: "kubeconfig", started: true, request: nothing, toAgent: &sent{Report: true}},
		"no agent, but a kubeconfig":          {agent: "absent", api: "kubeconfig", request: full, settled: true, toChild: byChild},
		"a stale socket, in a cluster":        {agent: "stale", api: "in-cluster", request: full, settled: true, toChild: byChild},
		"an agent of another user":            {agent: "another user", api: "kubeconfig", request: full, settled: true, toChild: byChild},
		"a kubeconfig":                        {agent: "not configured", api: "kubeconfig", request: full, settled: true, toChild: byChild},
		"a kubeconfig, plexus-once runs":      {agent: "not configured", api: "kubeconfig", started: true, request: full, settled: true, toChild: byChild},
		"a kubeconfig, a report alone":        {agent: "not configured", api: "kubeconfig", request: nothing},
		"a kubeconfig, a plain pod's event":   {agent: "not configured", api: "kubeconfig", request: plainOnly},
		"a kubeconfig, an event alone":        {agent: "not configured", api: "kubeconfig", request: eventOnly, settled: true, toChild: &sent{Events: []types.PodEvent{event}, Report: true}},
		"a kubeconfig, a status alone":        {agent: "not configured", api: "kubeconfig", request: types.PublishRequest{Status: networks}, settled: true, toChild: &sent{Status: true}},
	} {
		t.Run(name, func(t *testing.T) {
			config := &types.Config{}
			agent := configureAgent(t, config, test.agent, nil)
			s := newSource(t, config, installChild(t, "ok"))
			setAPI(s, test.api)
			if test.started {
				if _, err := s.startedChild(); err != nil {
					t.Fatal(err)
				}
			}
			settled, err := s.Publish(t.Context(), &test.request)
			if err != nil || settled != test.settled {
				t.Errorf("settled: %v, want %v; %v", settled, test.settled, err)
			}
			if agent != nil {
				if diff := cmp.Diff(test.toAgent, sentBy(agent.stop(t))); diff != "" {
					t.Errorf("the agent got (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(test.toChild, sentBy(notes[*types.Request](t, "requests"))); diff != "" {
				t.Errorf("plexus-once got (-want +got):\n%s", diff)
			}
			if want := test.started || test.toChild != nil; (s.child != nil) != want {
				t.Errorf("plexus-once was started: %v, want %v", s.child != nil, want)
			}
		})
	}
}

// A status that plexus-once did not write is not settled.
func TestPublishIsNotSettled(t *testing.T) {
	for mode, check := range map[string]func(error) bool{
		"unpublished": func(err error) bool { return err == nil },
		"error":       func(err error) bool { return errors.As(err, new(*types.WireError)) },
		"dies":        func(err error) bool { return errors.Is(err, rpc.ErrNoAnswer) },
		"hangs":       func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) },
		"absent":      func(err error) bool { return types.CodeOf(err, 0) == types.CodeNotAvailable },
	} {
		t.Run(mode, func(t *testing.T) {
			dir := emptyFolder(t)
			if mode != "absent" {
				dir = installChild(t, mode)
			}
			config := kubeconfig
			s := newSource(t, &config, dir)
			request := &types.PublishRequest{Status: networks}
			if mode == "hangs" {
				request.Timeout, s.patience.dial = types.Duration(10*time.Millisecond), 10*time.Millisecond
			}
			if settled, err := s.Publish(t.Context(), request); settled || !check(err) {
				t.Errorf("settled: %v, %v", settled, err)
			}
		})
	}
}

// An agent that reads nothing is given up, and plexus-once publishes.
func TestPublishToAnAgentThatReadsNothing(t *testing.T) {
	config := kubeconfig
	config.AgentSocket = agentSocket(t)
	listen(t, config.AgentSocket)
	s := newSource(t, &config, installChild(t, "ok"))
	s.patience.dial = 10 * time.Millisecond
	events := []types.PodEvent{{Message: strings.Repeat("x", 4<<20)}} // more than a socket holds
	settled, err := s.Publish(t.Context(), &types.PublishRequest{Events: events, Timeout: types.Duration(time.Minute)})
	if err != nil || !settled {
		t.Errorf("settled: %v, %v", settled, err)
	}
}

// plexus-once is started while the delegates run, if the status will need it.
func TestStartToPublish(t *testing.T) {
	for name, test := range map[string]struct {
		agent, api string
		started    bool
	}{
		"nobody":                        {"not configured", "none", false},
		"manifests":                     {"not configured", "manifests", false},
		"a kubeconfig":                  {"not configured", "kubeconfig", true},
		"in a cluster":                  {"not configured", "in-cluster", true},
		"no agent, but a kubeconfig":    {"absent", "kubeconfig", true},
		"an agent, beside a kubeconfig": {"ok", "kubeconfig", false},
		"an agent of another user":      {"another user", "kubeconfig", true},
	} {
		t.Run(name, func(t *testing.T) {
			for dir, installed := range map[string]bool{installChild(t, "ok"): true, t.TempDir(): false} {
				config := &types.Config{}
				configureAgent(t, config, test.agent, nil)
				s := newSource(t, config, dir)
				setAPI(s, test.api)
				if _, err := s.Facts(t.Context(), &types.FactsRequest{}); err != nil {
					t.Fatal(err)
				}
				if want := test.started && installed; (s.child != nil) != want {
					t.Errorf("with plexus-once installed: %v: started: %v, want %v", installed, s.child != nil, want)
				}
			}
		})
	}
}
