// Package delegate turns facts into a plan and a plan into reality: it works out what
// a pod is to be attached to, keeps the journal, runs the delegate plugins, undoes
// what failed, moves default routes, and publishes the outcome.
//
// It knows nothing of Kubernetes: facts come from, and status goes to, a Source.
package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// How long the verbs may take. The kubelet gives a sandbox 240 s, containerd a DEL 60 s.
const (
	undoTimeout    = 50 * time.Second
	delTimeout     = 50 * time.Second
	gcTimeout      = 50 * time.Second
	checkTimeout   = 50 * time.Second
	statusTimeout  = 5 * time.Second // of which the default network's own STATUS may take what it needs
	publishTimeout = 5 * time.Second
	readyTimeout   = 45 * time.Second
	lockPatience   = 10 * time.Second // before the orphans of a killed call are killed too
)

// Source knows pods and networks, and takes what is to be published. It is the agent,
// a plexus-once, or a test.
type Source interface {
	// Facts gives what is known of a pod, with every network that the request or the
	// pod's annotations name.
	Facts(ctx context.Context, request *types.FactsRequest) (*types.Facts, error)
	// Publish hands over a pod's status, its events and the report of the call, and reports
	// whether the status is settled. It returns within the request's timeout.
	Publish(ctx context.Context, request *types.PublishRequest) (settled bool, err error)
	// Local gives what this node alone knows of the networks that a request names: it asks
	// neither the agent nor the API server, and is silent about what they may know. The error
	// says what is wrong on this node, so that Facts could not be had.
	Local(ctx context.Context, request *types.FactsRequest) (*types.Facts, error)
}

// DeviceInfos are the files that describe the devices of attachments: to plugins, and by them.
type DeviceInfos interface {
	// Path gives the file of an attachment; it need not exist.
	Path(network, containerID, ifName string) string
	// Read gives the content of the file, nil if there is no file.
	Read(path string) (*types.DeviceInfo, error)
	// Describe writes what is known of a device before its plugin runs, unless nothing is.
	Describe(path string, device types.Device) error
	// Remove removes the file if there is one.
	Remove(path string) error
}

// Engine carries out the verbs of CNI. One Engine serves one call.
type Engine struct {
	Config *types.Config
	Path   []string    // the folders of plugins, in order
	Self   os.FileInfo // Plexus's own executable
	Source Source
	// MultusDirs are the folders in which Multus may have left the state of sandboxes.
	MultusDirs []string
	// RuntimeCacheDir is where the runtime's own libcni keeps its cache.
	RuntimeCacheDir string
	DeviceInfos     DeviceInfos
	BootID          string
	// TraceParent is what the runtime set in the environment, for the report of the call.
	TraceParent string
	Log         *slog.Logger

	meter *meter // of the call under way; nil for none
}

// Journal gives the journal of this engine's configuration.
func (e *Engine) Journal() *journal.Journal { return journal.New(StateDir(e.Config)) }

// StateDir gives the folder of the journal of a configuration.
func StateDir(config *types.Config) string { return config.CNIDir + "/plexus" }

// Call is one call of a runtime for one sandbox.
type Call struct {
	Sandbox types.Sandbox
	Pod     types.Pod // as CNI_ARGS names it
	// Annotations are all of the pod's, if the runtime handed them over; nil if not.
	Annotations map[string]string
	plain       bool // asks for no more than the default network
	selectsNone bool // asks for nothing; false as long as that is not known
}

func (e *Engine) key(sandbox *types.Sandbox) journal.Key {
	return journal.Key{ContainerID: sandbox.ContainerID, Network: e.Config.Name, IfName: sandbox.IfName}
}

// cni gives a libcni that runs plugins under the lock, which they inherit.
func (e *Engine) cni(lock *journal.Lock, containerID, cacheDir string) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(e.Path, cacheDir, e.executor(lock, containerID))
}

func (e *Engine) executor(lock *journal.Lock, containerID string) *executor {
	x := &executor{containerID: containerID, timeout: time.Duration(e.Config.DelegateTimeout), grace: pipeGrace, meter: e.meter}
	if lock != nil {
		x.lock = lock.File()
	}
	return x
}

// lockFor takes a container's lock, over the orphans of a call that was killed.
func (e *Engine) lockFor(ctx context.Context, containerID string) (*journal.Lock, error) {
	lock, err := e.Journal().LockOverOrphans(ctx, containerID, lockPatience)
	var disk *fs.PathError
	switch {
	case errors.Is(err, journal.ErrBusy):
		err = types.WithCode(types.CodeTryAgainLater, err)
	case errors.As(err, &disk):
		err = types.WithCode(types.CodeIOFailure, err)
	}
	return lock, err
}

// lockOnAnyDisk takes a container's lock. A disk that takes no file for it is no reason not
// to release anything, or not to look.
func (e *Engine) lockOnAnyDisk(ctx context.Context, containerID string) (*journal.Lock, error) {
	lock, err := e.lockFor(ctx, containerID)
	if !journal.CannotWrite(err) {
		return lock, err
	}
	return e.lockFolder(ctx, containerID, err)
}

// lockFolder takes the lock of the folder, where the failure is why a container's own lock
// cannot be taken.
func (e *Engine) lockFolder(ctx context.Context, containerID string, failure error) (*journal.Lock, error) {
	e.Log.Error("the disk takes nothing more; the call goes on all the same", "sandbox", containerID, "error", failure)
	lock, err := e.Journal().LockFolder(ctx, containerID)
	if errors.Is(err, journal.ErrBusy) {
		err = types.WithCode(types.CodeTryAgainLater, err)
	}
	return lock, err
}

// session is one record being worked on, under its container's lock.
type session struct {
	*Engine
	key    journal.Key
	lock   *journal.Lock
	record *types.Record
	lists  []*libcni.NetworkConfigList // of the plan's attachments, as far as they were read
	libcni *libcni.CNIConfig
	ahead  *ahead
	log    *slog.Logger
	// missing names the interfaces that are in the results and not in the namespace.
	missing []string
}

func (e *Engine) newSession(lock *journal.Lock, record *types.Record) *session {
	key := journal.KeyOf(record)
	x := e.executor(lock, key.ContainerID)
	x.ahead = newAhead(x, e.Config.StartAhead)
	return &session{
		Engine: e,
		key:    key,
		lock:   lock,
		record: record,
		lists:  make([]*libcni.NetworkConfigList, len(record.Plan.Attachments)),
		libcni: libcni.NewCNIConfigWithCacheDir(e.Path, e.Config.CNIDir, x),
		ahead:  x.ahead,
		log:    e.Log.With("pod", record.Plan.Pod.String(), "sandbox", key.ContainerID),
	}
}

// note appends to the record, on disk and here.
func (s *session) note(entry types.Entry) error {
	if err := s.lock.Append(s.key, entry); err != nil {
		return err
	}
	s.record.Apply(entry)
	return nil
}

// runtimeConf gives libcni's arguments for one attachment, for any verb.
func runtimeConf(a *types.Attachment, sandbox *types.Sandbox, netns string) *libcni.RuntimeConf {
	args := make(map[string]any, len(a.CapabilityArgs))
	for capability, value := range a.CapabilityArgs {
		args[capability] = value
	}
	return &libcni.RuntimeConf{
		ContainerID:    sandbox.ContainerID,
		NetNS:          netns,
		IfName:         a.Interface,
		Args:           a.CNIArgs(sandbox),
		CapabilityArgs: args,
	}
}

// listOf reads an attachment's configuration list.
func listOf(a *types.Attachment) (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes([]byte(a.Config))
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", a.Network, err)
	}
	return list, nil
}

// list gives the configuration list of one of the plan's attachments. It is read
// once, however often a call needs it.
func (s *session) list(i int) (*libcni.NetworkConfigList, error) {
	if s.lists[i] == nil {
		list, err := listOf(&s.record.Plan.Attachments[i])
		if err != nil {
			return nil, err
		}
		s.lists[i] = list
	}
	return s.lists[i], nil
}

// aliveNetNS gives the path of a record's namespace if it still is that namespace,
// else "", which tells plugins that it is gone.
func aliveNetNS(record *types.Record, bootID string) string {
	if journal.WhereaboutsOf(record).Lives(bootID) {
		return record.Plan.Sandbox.NetNS
	}
	return ""
}

// recordedNetNS gives the path that a runtime names, if the record's namespace is there, else
// what is known of the record's own: a runtime may leave the path out, and it may lead to
// another namespace by now.
func recordedNetNS(record *types.Record, bootID, path string) string {
	where := journal.WhereaboutsOf(record)
	where.NetNS = path
	if where.Lives(bootID) {
		return path
	}
	return aliveNetNS(record, bootID)
}

// isGone reports whether a record's sandbox is gone for sure: a call that only does not see
// the namespace, as from a mount namespace of its own, releases nothing that may live.
func isGone(record *types.Record, bootID string) bool {
	return !journal.WhereaboutsOf(record).MayLive(bootID)
}
