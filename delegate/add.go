package delegate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// Add attaches a sandbox to all its networks, or to none: whatever fails, everything
// that was tried is undone. It gives the result for the runtime.
func (e *Engine) Add(ctx context.Context, call *Call) (cnitypes.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(e.Config.AddTimeout))
	defer cancel()
	e.meter = newMeter()
	call.plain = call.Annotations != nil && e.isPlain(call.Annotations)
	s, result, err := e.add(ctx, call)
	if err != nil {
		e.reportFailure(ctx, call, err)
	}
	if s != nil {
		defer s.lock.Release()
		s.ahead.drop()
	}
	if err != nil {
		e.unmeasured().releaseDead(ctx)
		return nil, err
	}
	// Both wait for others, so they wait together.
	published := make(chan struct{})
	go func() {
		defer close(published)
		s.publish(ctx, call)
	}()
	e.unmeasured().releaseDead(ctx)
	<-published
	return result, nil
}

// add gives the session of the attached sandbox, still locked. A session beside an
// error is to be released all the same.
func (e *Engine) add(ctx context.Context, call *Call) (*session, cnitypes.Result, error) {
	planned, err := e.plan(ctx, call)
	if err != nil {
		return nil, nil, nameSignal(ctx, err)
	}
	s, err := e.begin(ctx, planned)
	if err != nil {
		return s, nil, fmt.Errorf("pod %s: %w", &planned.Pod, nameSignal(ctx, err))
	}
	results, err := s.attachAll(ctx)
	if err == nil {
		var result cnitypes.Result
		if result, err = s.answer(results); err == nil {
			return s, result, nil
		}
	}
	return s, nil, fmt.Errorf("pod %s: %w", &planned.Pod, types.Join(nameSignal(ctx, err), s.undo(ctx)))
}

// plan waits until the node is ready, asks for the facts and makes the plan. Nothing
// is touched.
func (e *Engine) plan(ctx context.Context, call *Call) (*types.Plan, error) {
	if _, err := e.previous(); err != nil {
		return nil, types.WithFault(types.FaultNode, fmt.Errorf("pod %s: %w", &call.Pod, err))
	}
	if err := e.waitReady(ctx); err != nil {
		return nil, fmt.Errorf("pod %s: %w", &call.Pod, err)
	}
	asked := e.meter.phase(types.Phase{Name: types.PhaseFacts})
	facts, err := e.Source.Facts(ctx, e.factsRequest(ctx, call))
	asked(err)
	if err != nil {
		return nil, namePod(&call.Pod, err)
	}
	call.plain, call.selectsNone = e.isPlain(facts.Pod.Annotations), selectsNone(facts.Pod.Annotations)
	if !isAbout(&facts.Pod, &call.Pod) {
		return nil, fmt.Errorf("pod %s: the source of facts answered for pod %s", &call.Pod, &facts.Pod)
	}
	call.Pod.Namespace, call.Pod.Name = facts.Pod.Namespace, facts.Pod.Name
	planned := e.meter.phase(types.Phase{Name: types.PhasePlan})
	planner := e.planner()
	planner.Taken = e.takenByOthers(e.key(&call.Sandbox))
	made, err := planner.Plan(ctx, facts, call.Sandbox)
	planned(err)
	return made, err
}

// isAbout reports whether an answer is about the pod that was asked for. A pod that is known by
// half may get the rest of its name; where pods are not looked up there is none.
func isAbout(answer, asked *types.Pod) bool {
	if asked.IsHalfKnown() {
		unknown := answer.Namespace == "" && answer.Name == ""
		return unknown || answer.Known() && answer.Name == asked.Name
	}
	return answer.Namespace == asked.Namespace && answer.Name == asked.Name
}

// namePod names the pod in an error that does not name it yet.
func namePod(pod *types.Pod, err error) error {
	if strings.Contains(err.Error(), pod.String()) && !pod.IsHalfKnown() {
		return err
	}
	return fmt.Errorf("pod %s: %w", pod, err)
}

func (e *Engine) factsRequest(ctx context.Context, call *Call) *types.FactsRequest {
	request := &types.FactsRequest{
		Pod:             call.Pod,
		HasAnnotations:  call.Annotations != nil,
		Networks:        plan.ConfiguredRefs(e.Config),
		MultusNamespace: e.Config.MultusNamespace,
	}
	if request.HasAnnotations {
		request.Pod.Annotations = types.KeepAnnotations(call.Annotations)
		request.Pod.Static = types.IsStatic(call.Annotations)
	}
	if deadline, ok := ctx.Deadline(); ok {
		request.Timeout = types.Duration(time.Until(deadline))
	}
	return request
}

func (e *Engine) planner() *plan.Planner {
	p := &plan.Planner{Config: e.Config, Node: e.node(), Speak: e.speaker(), Warn: func(format string, args ...any) {
		e.Log.Warn(fmt.Sprintf(format, args...))
	}}
	if e.DeviceInfos != nil {
		p.DeviceInfoPath = e.DeviceInfos.Path
	}
	return p
}

func (e *Engine) node() *plan.LocalNode { return &plan.LocalNode{Path: e.Path, Self: e.Self} }

func (e *Engine) waitReady(ctx context.Context) error {
	if e.Config.ReadinessIndicatorFile == "" {
		return nil
	}
	waited := e.meter.phase(types.Phase{Name: types.PhaseReady})
	err := waitForFile(ctx, e.Config.ReadinessIndicatorFile)
	waited(err)
	return err
}

// waitForFile waits for the readiness file, which the default network's agent writes
// when it is up.
func waitForFile(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return types.Errorf(types.CodeNotAvailable,
				"readinessindicatorfile: %s is not there: the default network is not ready on this node", path)
		}
	}
}

// begin puts the intent on disk. A record of this sandbox that is already there is
// an error if it is complete and alive, and is released first if not.
func (e *Engine) begin(ctx context.Context, planned *types.Plan) (s *session, err error) {
	begun := e.meter.phase(types.Phase{Name: types.PhaseJournal})
	defer func() { begun(err) }()
	id, exists := host.IdentifyNetNS(planned.Sandbox.NetNS)
	if !exists {
		return nil, types.Errorf(types.CodeInvalidEnv, "CNI_NETNS: %q is not a network namespace", planned.Sandbox.NetNS)
	}
	lock, err := e.lockFor(ctx, planned.Sandbox.ContainerID)
	if err != nil {
		return nil, err
	}
	s = e.newSession(lock, types.NewRecord(types.Intent{
		Format:       types.RecordFormat,
		BootID:       e.BootID,
		Network:      e.Config.Name,
		NetNSInode:   id.Inode,
		NetNSChanged: id.Changed,
		NetNSCookie:  id.Cookie,
		MountNSInode: host.MountNS(),
		Created:      time.Now().UTC(),
		SinceBoot:    host.SinceBoot(),
		Plan:         *planned,
	}))
	if err := s.makeRoom(ctx); err != nil {
		return s, err
	}
	if err := s.refuseTaken(); err != nil {
		return s, err
	}
	if err := s.refuseExisting(); err != nil {
		return s, err
	}
	s.expectAdd() // while the intent goes to disk
	return s, s.claim(ctx)
}

// makeRoom releases what an earlier, unfinished ADD of the same sandbox left.
func (s *session) makeRoom(ctx context.Context) error {
	old, err := s.Journal().Read(s.key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, types.ErrDamagedRecord):
		return s.releaseDamaged(ctx, &unrecorded{lock: s.lock, key: s.key, sandbox: s.record.Plan.Sandbox}, err)
	case err != nil:
		return err
	case old.Complete && !isGone(old, s.BootID):
		return fmt.Errorf("container %s is attached already, on interface %s: a runtime must call DEL before it calls ADD again",
			s.key.ContainerID, s.key.IfName)
	}
	s.log.Info("releasing what an earlier call left unfinished")
	if err := s.newSession(s.lock, old).release(ctx, "ADD", aliveNetNS(old, s.BootID)); err != nil {
		return fmt.Errorf("release what an earlier call left unfinished: %w", err)
	}
	return nil
}

// refuseTaken refuses an interface that another record of the container has: podman
// may attach a container to two networks of Plexus. An undo would take the other's away.
func (s *session) refuseTaken() error {
	taken := s.interfacesOfOthers(s.key)
	for i := range s.record.Plan.Attachments {
		if a := &s.record.Plan.Attachments[i]; taken[a.Interface] {
			return types.Errorf(types.CodeInvalidConfig, "network %s: interface: %q is taken by another attachment of container %s",
				a.Network, a.Interface, s.key.ContainerID)
		}
	}
	return nil
}

// refuseExisting refuses an interface that the namespace has already, whoever made it: a
// plugin that does not look would be attached over it, and an undo would take it away.
func (s *session) refuseExisting() error {
	sandbox, err := openSandbox(s.record.Plan.Sandbox.NetNS)
	if err != nil {
		return types.WithCode(types.CodeInvalidEnv, err)
	}
	defer sandbox.close()
	var faults []error
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		there, err := sandbox.inspect(a.Interface)
		if err == nil && there != nil && !s.madeBefore(a) {
			err = interfaceExists(a)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("network %s: %w", a.Network, err))
		}
	}
	return types.Join(faults...)
}

// attachAll runs the delegates in order, moves the default routes, and completes the
// record. Its results are in the order of the plan.
func (s *session) attachAll(ctx context.Context) ([]*current.Result, error) {
	attachments := s.record.Plan.Attachments
	results := make([]*current.Result, len(attachments))
	for i := range attachments {
		result, err := s.attach(ctx, i)
		if err != nil {
			return nil, attachError(&attachments[i], err)
		}
		results[i] = result
	}
	sandbox, err := openSandbox(s.record.Plan.Sandbox.NetNS)
	if err != nil {
		return nil, err
	}
	defer sandbox.close()
	moved := s.meter.phase(types.Phase{Name: types.PhaseRoutes})
	err = s.moveRoutes(sandbox, results)
	moved(err)
	if err != nil {
		return nil, err
	}
	read := s.meter.phase(types.Phase{Name: types.PhaseNamespace})
	entry := types.Entry{Event: types.EventComplete, Status: s.status(sandbox, results)}
	read(nil)
	return results, s.note(entry)
}

func (s *session) attach(ctx context.Context, i int) (*current.Result, error) {
	a := &s.record.Plan.Attachments[i]
	list, err := s.list(i)
	if err == nil {
		list, err = s.follow(a, list)
	}
	if err != nil {
		return nil, err
	}
	if err := s.note(types.Entry{Event: types.EventTrying, Attachment: i}); err != nil {
		return nil, err
	}
	s.describeDevice(a)
	raw, err := s.libcni.AddNetworkList(ctx, list, runtimeConf(a, &s.record.Plan.Sandbox, s.record.Plan.Sandbox.NetNS))
	if err != nil {
		s.noteRefusal(i, list, err)
		return nil, describe(err)
	}
	encoded, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("encode its result: %w", err)
	}
	// As it was recorded: what nobody can read again must not stay.
	result, _, err := parseResult(encoded)
	if err != nil {
		return nil, fmt.Errorf("read again what was recorded of it: %w", err)
	}
	s.log.Debug("attached", "network", a.Network, "interface", a.Interface)
	if err := s.note(types.Entry{Event: types.EventAttached, Attachment: i, Result: encoded}); err != nil {
		return nil, err
	}
	return result, s.verifyAsked(a, result)
}

// moveRoutes carries out the pod's default-route request, and makes the results, in
// the record and in libcni's cache, agree with the namespace.
func (s *session) moveRoutes(sandbox *sandboxNet, results []*current.Result) error {
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		if len(a.Gateways) == 0 {
			continue
		}
		if err := s.stopAdvertised(sandbox, i, results); err != nil {
			return fmt.Errorf("network %s: %w", a.Network, err)
		}
		routes, err := sandbox.setDefaultRoutes(a.Interface, a.Gateways)
		if err != nil {
			return fmt.Errorf("network %s: %w", a.Network, err)
		}
		for j, changed := range moveDefaultRoutes(results, i, routes) {
			if !changed {
				continue
			}
			if err := s.correctResult(j, results[j]); err != nil {
				return fmt.Errorf("network %s: %w", s.record.Plan.Attachments[j].Network, err)
			}
		}
	}
	return nil
}

// correctResult replaces a result, in the version it had.
func (s *session) correctResult(i int, result *current.Result) error {
	_, version, err := parseResult(s.record.Progress[i].Result)
	if err != nil {
		return err
	}
	encoded, err := encodeResult(result, version)
	if err != nil {
		return err
	}
	if err := s.note(types.Entry{Event: types.EventAttached, Attachment: i, Result: encoded}); err != nil {
		return err
	}
	return s.writeCache(i)
}

// answer gives the runtime's result, in the version of the call.
func (s *session) answer(results []*current.Result) (cnitypes.Result, error) {
	if s.Config.Result != types.ResultAll {
		results = results[:1]
	}
	result := mergeResults(results)
	converted, err := result.GetAsVersion(s.Config.CNIVersion)
	if err != nil {
		return nil, fmt.Errorf("answer in version %s: %w", s.Config.CNIVersion, err)
	}
	return converted, nil
}

// undo releases everything that this ADD tried, on time of its own. What cannot be
// released stays in the record, for DEL and for later calls.
func (s *session) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := s.release(ctx, "ADD", s.record.Plan.Sandbox.NetNS); err != nil {
		return fmt.Errorf("undo, which DEL and later calls will try again: %w", err)
	}
	return nil
}
