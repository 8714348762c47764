package source

import (
	"context"
	"slices"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// Publish hands over the status and the events of a call: to the agent, which writes
// them later, or to plexus-once, which writes the status before it answers. It reports
// whether the status is settled; where there is no API it is, as there are no readers.
func (s *Source) Publish(ctx context.Context, request *types.PublishRequest) (bool, error) {
	// A plexus-once that is started already publishes, so the agent gets the report alone.
	toChild := s.child != nil
	if s.hasAgent() && s.reportToAgent(request, !toChild) == nil && !toChild {
		return false, nil
	}
	if !s.hasAPI() {
		return !s.hasAgent(), nil
	}
	return s.publishByChild(ctx, request)
}

// publishByChild makes plexus-once write the status, and those events that are not of
// plain pods.
func (s *Source) publishByChild(ctx context.Context, request *types.PublishRequest) (bool, error) {
	ofChild := *request
	ofChild.Events = slices.DeleteFunc(slices.Clone(request.Events), func(e types.PodEvent) bool { return e.Plain })
	if ofChild.Status == nil && len(ofChild.Events) == 0 {
		return false, nil
	}
	c, err := s.startedChild()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, request.Timeout.TimeoutOr(time.Second)+s.patience.dial)
	defer cancel()
	response, err := c.call(ctx, &types.Request{Publish: &ofChild})
	if err != nil {
		return false, err
	}
	return response.Published, nil
}

// startToPublish starts plexus-once, while the delegates run, if the status will need it.
func (s *Source) startToPublish() {
	if !s.hasAPI() || s.agentListens() {
		return
	}
	if _, err := s.startedChild(); err != nil {
		s.log.Warn("the network status will not be published", "error", err)
	}
}
