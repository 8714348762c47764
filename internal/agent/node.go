package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/agent/status"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

const (
	// useCheck is how often the agent looks whether its node uses Plexus.
	useCheck = 5 * time.Second
	// maxFailures is how many of the last failed calls are kept.
	maxFailures = 5
)

// nodeUse finds out whether the node uses Plexus.
type nodeUse struct {
	socket string                  // of the agent
	own    map[string]func() error // what the agent itself finds out, by reason
	now    func() time.Time
}

// inspect gives every reason that is known, and what install --follow found out; nil if
// nothing follows.
func (n *nodeUse) inspect() ([]types.UseReason, *types.NodeUse) {
	follower, faults := status.Follower(n.socket, n.now())
	for reason, fault := range n.own {
		faults[reason] = textOf(fault())
	}
	return types.SortReasons(faults), follower
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// failures keeps the last calls that failed.
type failures struct {
	mu   sync.Mutex
	last []types.FailedCall
}

func (f *failures) add(pod *types.Pod, call *types.CallReport) {
	if call.Code == 0 {
		return
	}
	failed := types.FailedCall{
		Time: call.Started, Command: oneOf(verbs, call.Command), Sandbox: types.Shorten(call.ContainerID, maxPluginName),
		Code: call.Code, Fault: faultOf(call), Error: types.Shorten(call.Error, types.MaxReportError),
	}
	if pod.Known() {
		failed.Pod = pod.String()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = append(f.last, failed)
	f.last = f.last[max(0, len(f.last)-maxFailures):]
}

func (f *failures) list() []types.FailedCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.last)
}

// state gives what the agent knows about its node.
func (a *agent) state() *types.NodeState {
	use, follower := a.use.inspect()
	sizes := a.cache.Sizes()
	t := a.publisher.records.tally()
	return &types.NodeState{
		Node: a.opts.NodeName, Version: version.Version, Since: a.since.load(), NotReady: textOf(a.ready()),
		Follower: follower, Use: use,
		Pods: sizes[watched.KindPods].Objects, Networks: sizes[watched.KindNetworks].Objects,
		Journal: types.JournalState{Complete: t.complete, Incomplete: t.incomplete, Unreadable: t.damaged, GivenUp: t.givenUp, Attachments: t.attachments},
		Without: int(a.without.count.Load()), Waiting: a.publisher.backlog(), Failures: a.failures.list(),
	}
}

// watchNode looks again and again whether the node uses Plexus, until ctx ends: it writes
// events on the node, and takes its taint off.
func (a *agent) watchNode(ctx context.Context) {
	for ctx.Err() == nil {
		// Another agent that waits for the socket has no part in it.
		if state := a.state(); !state.Since.IsZero() {
			a.notices.update(state)
			a.untaint.update(ctx, state)
		}
		pause(ctx, useCheck)
	}
}
