package delegate

import (
	"context"
	"fmt"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// status describes all attachments, from their results and from what is really in
// the namespace.
func (s *session) status(sandbox *sandboxNet, results []*current.Result) []types.NetworkStatus {
	results = s.inPod(results)
	seen := s.inspect(sandbox, results)
	var all []types.NetworkStatus
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		entries := networkStatus(a, results[i], seen)
		entries[0].DeviceInfo = s.deviceInfo(a)
		all = append(all, entries...)
	}
	return all
}

// inspect reads the interfaces that the plan or the results name. One that is not
// there is nil.
func (s *session) inspect(sandbox *sandboxNet, results []*current.Result) map[string]*seenInterface {
	seen := map[string]*seenInterface{}
	read := func(name string) {
		if _, done := seen[name]; done {
			return
		}
		there, err := sandbox.inspect(name)
		if err != nil {
			s.log.Warn("read the pod's namespace", "error", err)
		}
		seen[name] = there
	}
	for i := range s.record.Plan.Attachments {
		read(s.record.Plan.Attachments[i].Interface)
		for _, iface := range results[i].Interfaces {
			if iface != nil && iface.Sandbox != "" {
				read(iface.Name)
			}
		}
	}
	s.missing = missingInterfaces(s.record.Plan.Attachments, results, seen)
	return seen
}

// missingInterfaces names, for a warning, the interfaces that a result claims to be in
// the sandbox and that are not. One with a socket or a PCI device may be right to have no netdev:
// vhost-user, or a device in the hands of DPDK.
func missingInterfaces(attachments []types.Attachment, results []*current.Result, seen map[string]*seenInterface) []string {
	var missing []string
	for i := range attachments {
		for _, iface := range results[i].Interfaces {
			if iface == nil || iface.Sandbox == "" || iface.SocketPath != "" || iface.PciID != "" {
				continue
			}
			if seen[iface.Name] == nil {
				missing = append(missing, fmt.Sprintf("network %s: its plugins say that they made interface %s, but the pod has none of that name",
					attachments[i].Network, iface.Name))
			}
		}
	}
	return missing
}

// describeDevice hands the facts of the device plugin and the kernel about a device to the plugins
// (device information specification 1.1, section 4.2.1). Without it the pod works too.
func (s *session) describeDevice(a *types.Attachment) {
	device, some := a.Device()
	if !some || a.DeviceInfoFile == "" || s.DeviceInfos == nil {
		return
	}
	if err := s.DeviceInfos.Describe(a.DeviceInfoFile, device); err != nil {
		s.log.Warn("describe a device", "network", a.Network, "device", device.ID, "error", err)
	}
}

func (s *session) deviceInfo(a *types.Attachment) *types.DeviceInfo {
	if a.DeviceInfoFile == "" || s.DeviceInfos == nil {
		return nil
	}
	info, err := s.DeviceInfos.Read(a.DeviceInfoFile)
	if err != nil {
		s.log.Warn("read what the plugins say of the device", "network", a.Network, "error", err)
	}
	return info
}

// publish hands the status over to be written to the API, and notes whether it is
// settled. That it is not fails no ADD: later calls, or the agent, will see to it.
func (s *session) publish(ctx context.Context, call *Call) {
	if !s.record.Plan.Pod.Known() {
		s.publishReport(ctx, "ADD", call, nil)
		return
	}
	request := &types.PublishRequest{
		Pod:     s.record.Plan.Pod,
		Status:  s.record.Status,
		Events:  s.events(call),
		Report:  s.report("ADD", call, nil),
		Timeout: types.Duration(publishTimeout),
	}
	settled, err := s.Source.Publish(ctx, request)
	if err != nil {
		s.log.Warn("the network status is not published yet; a later call will", "error", err)
	}
	if !settled {
		return
	}
	if err := s.note(types.Entry{Event: types.EventPublished}); err != nil {
		s.log.Warn("note that the status is published", "error", err)
	}
}

// events gives one event for each interface, for the readers of the pod.
func (s *session) events(call *Call) []types.PodEvent {
	var events []types.PodEvent
	for _, entry := range s.record.Status {
		events = append(events, types.PodEvent{
			Type:    types.EventNormal,
			Reason:  types.ReasonAddedInterface,
			Message: fmt.Sprintf("Add %s [%s] from %s", entry.Interface, strings.Join(entry.IPs, " "), entry.Name),
			Plain:   call.plain,
		})
	}
	for _, message := range s.missing {
		events = append(events, types.PodEvent{Type: types.EventWarning, Reason: types.ReasonNoSuchInterface, Message: message, Plain: call.plain})
	}
	return events
}

// reportFailure puts a Warning with the reason on the pod. It carries the code and
// the message, never a plugin's stderr.
func (e *Engine) reportFailure(ctx context.Context, call *Call, failure error) {
	if !call.Pod.Known() {
		e.publishReport(ctx, "ADD", call, failure)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	message := fmt.Sprintf("%v (CNI code %d)", failure, types.CodeOf(failure, types.CodeFailed))
	event := types.PodEvent{Type: types.EventWarning, Reason: types.ReasonAttachFailed, Message: message, Plain: call.plain}
	request := &types.PublishRequest{
		Pod: call.Pod, Events: []types.PodEvent{event}, Report: e.report("ADD", call, failure), Timeout: types.Duration(publishTimeout),
	}
	if _, err := e.Source.Publish(ctx, request); err != nil {
		e.Log.Warn("put an event on the pod", "pod", call.Pod.String(), "error", err)
	}
}
