// Package source asks about pods and networks for the CNI plugin plexus, and hands
// over the status: to plexus-agent, or to plexus-once, which it starts as a child.
package source

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/types"
)

var _ delegate.Source = (*Source)(nil)

// patience is how long a call waits, for each of its sources.
type patience struct {
	agent time.Duration // an agent's facts, where plexus-once can be asked instead
	facts time.Duration // facts from any source
	retry time.Duration // before the agent is asked again
	dial  time.Duration // a connection, a report, the stderr of a child
}

var defaultPatience = patience{
	agent: 3 * time.Second,
	// The runtime tries again: an unreachable API keeps no ADD for longer.
	facts: 30 * time.Second,
	retry: 200 * time.Millisecond,
	dial:  500 * time.Millisecond,
}

// Source answers one call of the runtime. Facts come from the manifests; else from the
// agent; else from plexus-once with a kubeconfig or the in-cluster environment; else
// there are none.
type Source struct {
	config    *types.Config
	stateDir  string
	cniPath   []string
	log       *slog.Logger
	inCluster bool // the environment says where the API server is
	patience  patience

	child *child    // the plexus-once of this call, nil until it is needed
	asked time.Time // when the facts were asked for
}

// New makes the source that a configuration names. stateDir is the folder of the
// journal; plexus-once is looked for on cniPath.
func New(config *types.Config, stateDir string, cniPath []string, log *slog.Logger) *Source {
	return &Source{
		config: config, stateDir: stateDir, cniPath: cniPath, log: log,
		inCluster: os.Getenv("KUBERNETES_SERVICE_HOST") != "",
		patience:  defaultPatience,
	}
}

// hasAgent reports whether an agent is configured. Manifests stand in for the cluster.
func (s *Source) hasAgent() bool {
	return s.config.Manifests == "" && s.config.AgentSocket != ""
}

// hasAPI reports whether plexus-once can find the API server.
func (s *Source) hasAPI() bool {
	return s.config.Manifests == "" && (s.config.Kubeconfig != "" || s.inCluster)
}

// canAskChild reports whether plexus-once has something to read facts from.
func (s *Source) canAskChild() bool {
	return s.config.Manifests != "" || s.hasAPI()
}

// Facts gives the facts of a pod. It asks no source for what the runtime handed over.
func (s *Source) Facts(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	s.asked = time.Now()
	if request.Pod.IsHalfKnown() {
		return s.factsByHalf(ctx, request)
	}
	if facts, complete := knownFacts(request); complete {
		s.startToPublish()
		return facts, nil
	}
	if s.hasAgent() {
		facts, err := s.waitForAgent(ctx, request)
		if err == nil || !s.mayFallBack(err) {
			return facts, err
		}
		s.log.Info("the agent did not answer, asking the API server", "error", err)
	}
	if s.canAskChild() {
		return s.askChild(ctx, request)
	}
	return noFacts(request), nil
}

// factsByHalf gives the facts of a pod of which the runtime gave the name alone, or the
// namespace alone. Manifests may have one pod of the name. An API server must be asked about
// both: to go on without the pod would be to attach less than it asks for, in silence.
func (s *Source) factsByHalf(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	given, missing, value := types.ArgPodName, types.ArgPodNamespace, request.Pod.Name
	if value == "" {
		given, missing, value = types.ArgPodNamespace, types.ArgPodName, request.Pod.Namespace
	}
	switch {
	case s.config.Manifests != "" && request.Pod.Name != "":
		return s.askChild(ctx, request)
	case s.config.Manifests != "":
		return nil, types.Errorf(types.CodeInvalidEnv, "CNI_ARGS: %s is %q and %s is missing: no manifest can be looked up without it", given, value, missing)
	case s.hasAgent() || s.hasAPI():
		return nil, types.Errorf(types.CodeInvalidEnv, "CNI_ARGS: %s is %q and %s is missing: no pod can be looked up without it; "+
			`if none is to be, set agentSocket to "" and no kubeconfig`, given, value, missing)
	}
	unknown := *request
	unknown.Pod = types.Pod{}
	return noFacts(&unknown), nil
}

// knownFacts gives the facts if no source is needed: the runtime handed the
// annotations over, or there is no pod, and no network is named.
func knownFacts(request *types.FactsRequest) (*types.Facts, bool) {
	known := request.HasAnnotations || !request.Pod.Known()
	if !known || len(request.Networks)+len(request.Pod.SelectedRefs(request.MultusNamespace)) > 0 {
		return nil, false
	}
	return &types.Facts{Pod: request.Pod}, true
}

// noFacts gives the facts where there is no source: every network is missing.
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

// mayFallBack reports whether plexus-once may know what the agent did not: it gave no
// answer, or one that says to try again later.
func (s *Source) mayFallBack(err error) bool {
	return mayPass(err) && s.canAskChild()
}

// mayPass reports whether the same question may be answered later, or by somebody else.
func mayPass(err error) bool { return types.CodeOf(err, 0) == types.CodeTryAgainLater }
