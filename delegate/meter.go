package delegate

import (
	"context"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// maxPhases bounds the report of one call.
const maxPhases = 512

// meter measures the phases of one call. A nil meter measures nothing.
type meter struct {
	mu     sync.Mutex
	began  time.Time
	phases []types.Phase
}

func newMeter() *meter { return &meter{began: time.Now()} }

// phase begins a phase and gives what ends it.
func (m *meter) phase(p types.Phase) (end func(error)) {
	if m == nil {
		return func(error) {}
	}
	began := time.Now()
	return func(err error) {
		p.After, p.Took, p.Code = types.Duration(began.Sub(m.began)), types.Duration(time.Since(began)), codeOf(err)
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.phases) < maxPhases {
			m.phases = append(m.phases, p)
		}
	}
}

// codeOf gives the CNI code of an error, 0 for none.
func codeOf(err error) uint {
	if err == nil {
		return 0
	}
	return types.CodeOf(err, types.CodeFailed)
}

// messageOf gives the message of an error, as long as a report may have it; none for nil.
func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return types.Shorten(err.Error(), types.MaxReportError)
}

// report describes the call as if it ended now with err.
func (m *meter) report(command, containerID, traceParent string, err error) *types.CallReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &types.CallReport{
		Command:     command,
		ContainerID: containerID,
		Started:     m.began.UTC(),
		Took:        types.Duration(time.Since(m.began)),
		Code:        codeOf(err),
		Error:       messageOf(err),
		Phases:      m.phases,
		TraceParent: traceParent,
	}
}

// report describes a call as if it ended now with err.
func (e *Engine) report(command string, call *Call, err error) *types.CallReport {
	report := e.meter.report(command, call.Sandbox.ContainerID, e.TraceParent, err)
	report.Fault = call.faultOf(command, err)
	return report
}

// unmeasured gives an engine that works for other sandboxes.
func (e *Engine) unmeasured() *Engine {
	other := *e
	other.meter = nil
	return &other
}

// publishReport hands over the report of a call that has no status and no events. Nothing
// waits for it.
func (e *Engine) publishReport(ctx context.Context, command string, call *Call, err error) {
	request := &types.PublishRequest{Pod: call.Pod, Report: e.report(command, call, err)}
	if _, sendErr := e.Source.Publish(ctx, request); sendErr != nil {
		e.Log.Debug("report the call", "error", sendErr)
	}
}
