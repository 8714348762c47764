package agent

import (
	"context"
	"time"

	"github.com/plexus-cni/plexus/types"
)

const (
	// maxReports is how many reports of ended calls may wait to be processed.
	maxReports = 1024
	// eventGrace is for the last events to be written.
	eventGrace = 500 * time.Millisecond
)

// accept queues what a call reports at its end. It does not wait.
func (a *agent) accept(request *types.PublishRequest) {
	select {
	case a.reports <- request:
	default:
		a.metrics.refused.WithLabelValues("busy").Inc()
	}
}

// processReports processes the reports of calls until ctx ends.
func (a *agent) processReports(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			a.finishReports()
			return
		case request := <-a.reports:
			a.process(request)
			if request.Report != nil && request.Report.ContainerID != "" {
				a.publisher.recordChanged(request.Report.ContainerID)
				a.publisher.records.report(request.Report)
			}
		}
	}
}

// finishReports processes the reports that still wait, because no other agent gets them.
// The next agent publishes their status.
func (a *agent) finishReports() {
	for {
		select {
		case request := <-a.reports:
			a.process(request)
		default:
			a.traces.stop()
			time.Sleep(eventGrace)
			a.events.stop()
			return
		}
	}
}

// process writes the events of a call, counts it, logs its failure and exports its spans.
func (a *agent) process(request *types.PublishRequest) {
	a.events.add(&request.Pod, request.Events)
	if request.Report == nil {
		return
	}
	a.logFailure(&request.Pod, request.Report)
	a.failures.add(&request.Pod, request.Report)
	a.metrics.observe(request.Report)
	a.traces.add(&request.Pod, request.Report)
}

// logFailure writes one line for a call that failed, and none for one that did not. It
// names the first phase that failed: later ones are of the undo.
func (a *agent) logFailure(pod *types.Pod, call *types.CallReport) {
	if call.Code == 0 {
		return
	}
	line := []any{"command", oneOf(verbs, call.Command), "code", call.Code, "fault", faultOf(call), "took", time.Duration(call.Took).Round(time.Microsecond)}
	add := func(key, value string) {
		if value != "" {
			line = append(line, key, value)
		}
	}
	if pod.Known() {
		add("pod", pod.String())
	}
	add("sandbox", call.ContainerID)
	for _, phase := range call.Phases {
		if phase.Code != 0 {
			add("phase", oneOf(phases, phase.Name))
			add("plugin", phase.Plugin)
			add("interface", phase.Interface)
			break
		}
	}
	add("error", types.Shorten(call.Error, types.MaxReportError))
	a.log.Warn("call failed", line...)
}
