package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

const (
	// agentPatience is how long an agent may take to answer when there is a plexus-once
	// to fall back to; without one it is waited for as an unreachable API is.
	agentPatience = 3 * time.Second
	agentRetry    = 200 * time.Millisecond
	dialTimeout   = 500 * time.Millisecond
	// factsTimeout is how long an unreachable API may keep an ADD: the runtime tries again.
	factsTimeout = 30 * time.Second
)

// source is where facts come from and status goes to: the manifests, else the agent,
// else plexus-once with a kubeconfig or the in-cluster environment, else nobody.
type source struct {
	config   *types.Config
	stateDir string
	cniPath  []string
	log      *slog.Logger
	child    *child    // the plexus-once of this call, nil until it is needed
	begun    time.Time // when the facts were asked for
}

// Facts asks whoever knows. What the runtime has told already is not asked for.
func (s *source) Facts(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	s.begun = time.Now()
	if facts, complete := knownFacts(request); complete {
		s.expectToPublish()
		return facts, nil
	}
	if s.config.Manifests == "" && s.config.AgentSocket != "" {
		facts, err := s.waitForAgent(ctx, request)
		if err == nil || !s.mayFallBack(err) {
			return facts, err
		}
		s.log.Info("the agent did not answer, asking the API server", "error", err)
	}
	switch {
	case s.hasOnce():
		return s.askOnce(ctx, request)
	default:
		return noFacts(request), nil
	}
}

// knownFacts gives the facts if nobody need be asked: the runtime handed the
// annotations over, or there is no pod, and no network is named.
func knownFacts(request *types.FactsRequest) (*types.Facts, bool) {
	known := request.HasAnnotations || !request.Pod.Known()
	if !known || len(request.Networks)+len(request.Pod.SelectedRefs(request.MultusNamespace)) > 0 {
		return nil, false
	}
	return &types.Facts{Pod: request.Pod}, true
}

// noFacts is what is known where there is no source at all: what is configured, and
// that no network can be looked up.
func noFacts(request *types.FactsRequest) *types.Facts {
	facts := &types.Facts{Pod: request.Pod}
	for _, ref := range request.Networks {
		facts.Networks = append(facts.Networks, types.Network{Ref: ref, Missing: true})
	}
	for _, ref := range request.Pod.SelectedRefs(request.MultusNamespace) {
		facts.Networks = append(facts.Networks, types.Network{
			Ref:     ref,
			Problem: "the pod asks for it, but the node's configuration has no source to look it up in: no kubeconfig, agentSocket or manifests",
		})
	}
	return facts
}

// mayFallBack tells whether another source may give what the agent did not. Where
// there is none the error says to try again later.
func (s *source) mayFallBack(err error) bool {
	if !errors.Is(err, rpc.ErrNoAnswer) && types.CodeOf(err, 0) != types.CodeTryAgainLater {
		return false
	}
	return s.hasOnce()
}

// waitForAgent asks the agent, once if there is another source, else again as long as
// that may help: an agent is restarted, or does not know its networks yet.
func (s *source) waitForAgent(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	patience := factsTimeout
	if s.hasOnce() {
		patience = agentPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		facts, err := s.askAgent(ctx, request)
		if err == nil || s.hasOnce() || types.CodeOf(err, 0) != types.CodeTryAgainLater {
			return facts, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(agentRetry):
		}
	}
}

func (s *source) askAgent(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	asked := *request // plexus-once, if it is asked after, has a time of its own
	if deadline, ok := ctx.Deadline(); ok {
		asked.Timeout = types.Duration(time.Until(deadline))
	}
	conn, err := s.dialAgent()
	if err != nil {
		return nil, s.noAgent(err)
	}
	defer conn.Close()
	response, err := rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Facts: &asked})
	switch {
	case errors.Is(err, rpc.ErrNoAnswer):
		return nil, s.noAgent(err)
	case err != nil:
		return nil, fmt.Errorf("agent: %w", err)
	case response.Facts == nil || response.Facts.Pod.Namespace != request.Pod.Namespace || response.Facts.Pod.Name != request.Pod.Name:
		return nil, s.noAgent(errors.New("its answer has no facts of this pod"))
	}
	return response.Facts, nil
}

// dialAgent connects to the agent, and makes sure that it is one: whoever answers here
// says what root runs.
func (s *source) dialAgent() (net.Conn, error) {
	conn, err := net.DialTimeout("unix", s.config.AgentSocket, dialTimeout)
	if err != nil {
		return nil, err
	}
	if err := rpc.CheckPeer(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *source) noAgent(err error) error {
	said := strings.TrimPrefix(err.Error(), rpc.ErrNoAnswer.Error()+": ")
	return types.Errorf(types.CodeTryAgainLater,
		"agent on %s: %w: %s; without it, and without a kubeconfig to fall back to, the pod's networks are not known", s.config.AgentSocket, rpc.ErrNoAnswer, said)
}

// hasOnce tells whether plexus-once has something to ask.
func (s *source) hasOnce() bool {
	return s.config.Manifests != "" || s.hasAPI()
}

func (s *source) hasAPI() bool {
	return s.config.Manifests == "" && (s.config.Kubeconfig != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "")
}

func (s *source) askOnce(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	c, err := s.once()
	if err != nil {
		return nil, err
	}
	if left := time.Until(s.begun.Add(factsTimeout)); left < request.Timeout.TimeoutOr(factsTimeout) {
		request.Timeout = types.Duration(left)
	}
	response, err := c.call(ctx, &types.Request{Facts: request})
	if errors.Is(err, rpc.ErrNoAnswer) {
		c.close() // the next question, the event about this failure, gets another
		s.child = nil
	}
	if err != nil {
		return nil, err
	}
	if response.Facts == nil {
		return nil, errors.New("plexus-once: its answer has no facts")
	}
	return response.Facts, nil
}

// once gives this call's plexus-once, starting it if need be.
func (s *source) once() (*child, error) {
	if s.child == nil {
		c, err := startChild(s)
		if err != nil {
			return nil, err
		}
		s.child = c
	}
	return s.child, nil
}

// expectToPublish starts plexus-once while the delegates run, where it will be needed
// for the status alone.
func (s *source) expectToPublish() {
	if !s.hasAPI() || s.agentListens() {
		return
	}
	if _, err := s.once(); err != nil {
		s.log.Warn("the network status will not be published", "error", err)
	}
}

func (s *source) agentListens() bool {
	if s.config.AgentSocket == "" {
		return false
	}
	conn, err := s.dialAgent()
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Publish hands status and events over: to the agent, which sees to it in its own
// time, or to plexus-once, which writes the status before it answers. Where there is
// no API there is nothing to publish.
func (s *source) Publish(ctx context.Context, request *types.PublishRequest) (bool, error) {
	if s.config.Manifests != "" {
		return true, nil
	}
	if s.config.AgentSocket != "" && s.tellAgent(request, s.child == nil) == nil && s.child == nil {
		return false, nil
	}
	request.Events = slices.DeleteFunc(request.Events, func(e types.PodEvent) bool { return e.Plain })
	if !s.hasAPI() || request.Status == nil && len(request.Events) == 0 {
		return s.config.AgentSocket == "" && !s.hasAPI(), nil
	}
	c, err := s.once()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, request.Timeout.TimeoutOr(time.Second)+dialTimeout)
	defer cancel()
	response, err := c.call(ctx, &types.Request{Publish: request})
	if err != nil {
		return false, err
	}
	return response.Published, nil
}

// tellAgent sends the request, without the status, which the agent reads in the journal,
// and does not wait for an answer. Where plexus-once puts the events, the agent gets the
// report alone.
func (s *source) tellAgent(request *types.PublishRequest, withEvents bool) error {
	conn, err := s.dialAgent()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	told := *request
	told.Status = nil
	if !withEvents {
		told.Events = nil
	}
	return rpc.NewConn(conn).Send(&types.Request{Version: types.WireVersion, Publish: &told})
}

// Ready tells, without asking anybody, why facts could not be had.
func (s *source) Ready() error {
	switch {
	case s.config.Manifests != "":
		return types.Join(readable("manifests", s.config.Manifests), s.onceThere())
	case s.agentListens():
		return nil
	case s.config.Kubeconfig != "":
		return types.Join(readable("kubeconfig", s.config.Kubeconfig), s.onceThere())
	case s.hasAPI():
		return s.onceThere()
	case s.config.AgentSocket != "":
		return fmt.Errorf("agentSocket: nobody listens on %s, and there is no kubeconfig to fall back to", s.config.AgentSocket)
	}
	return nil
}

func (s *source) onceThere() error {
	_, err := findOnce(s.cniPath)
	return err
}

func readable(key, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return file.Close()
}
