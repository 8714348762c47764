package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// waitForAgent asks the agent: once if plexus-once can be asked instead, else again for
// as long as that may help. An agent restarts, or does not know its networks yet.
func (s *Source) waitForAgent(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	limit := s.patience.facts
	if s.canAskChild() {
		limit = s.patience.agent
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var last error
	for {
		facts, err := s.askAgent(ctx, request)
		if err == nil || s.canAskChild() || !mayPass(err) {
			return facts, err
		}
		if last != nil && !time.Now().Before(deadline) {
			return nil, last // the time ended within this attempt, which shows nothing of the agent
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(s.patience.retry):
		}
	}
}

func (s *Source) askAgent(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	toAgent := *request // plexus-once, if it is asked next, has its own timeout
	if deadline, ok := ctx.Deadline(); ok {
		toAgent.Timeout = types.Duration(time.Until(deadline))
	}
	conn, err := s.dialAgent()
	if err != nil {
		return nil, s.noAgent(err)
	}
	defer conn.Close()
	response, err := rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Facts: &toAgent})
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

// noAgent makes the error for an agent that gave no answer.
func (s *Source) noAgent(err error) error {
	reason := strings.TrimPrefix(err.Error(), rpc.ErrNoAnswer.Error()+": ")
	return types.Errorf(types.CodeTryAgainLater,
		"agent on %s: %w: %s; without it, and without a kubeconfig to fall back to, the pod's networks are not known", s.config.AgentSocket, rpc.ErrNoAnswer, reason)
}

// dialAgent connects to the agent, and refuses one that runs as another user: its
// answer decides what root runs.
func (s *Source) dialAgent() (net.Conn, error) {
	conn, err := net.DialTimeout("unix", s.config.AgentSocket, s.patience.dial)
	if err != nil {
		return nil, err
	}
	if err := rpc.CheckPeer(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *Source) agentListens() bool {
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

// reportToAgent sends the report of a call, and the events unless plexus-once writes
// them. It sends no status, which the agent reads in the journal, and waits for no answer.
func (s *Source) reportToAgent(request *types.PublishRequest, withEvents bool) error {
	conn, err := s.dialAgent()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(s.patience.dial)); err != nil {
		return err
	}
	toAgent := *request
	toAgent.Status = nil
	if !withEvents {
		toAgent.Events = nil
	}
	return rpc.NewConn(conn).Send(&types.Request{Version: types.WireVersion, Publish: &toAgent})
}
