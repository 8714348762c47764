// Package vf attaches virtual functions to pods, and gives them back as they were. It is
// the work of cmd/plexus-sriov.
//
// The state of a VF is on the disk (Store) before the VF is touched. There is one way
// to undo, release, and DEL, GC, a failed ADD and an ADD that finds what a dead sandbox
// left all take it: it goes by how things are, not by how far somebody came.
package vf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// Devices reports what a device is (sriov.Sysfs).
type Devices interface {
	Device(id string) (*sriov.Device, error)
}

// PF reads and sets what a physical function keeps of a VF: its driver is what differs
// between machines, and what a test without the hardware cannot have.
type PF interface {
	Read(netdev string, vf int) (*sriov.VFSettings, error)
	// MTU gives the MTU of the PF's own interface.
	MTU(netdev string) (int, error)
	SetMAC(netdev string, vf int, mac string) error
	SetVLAN(netdev string, vf int, s *sriov.VFSettings) error
	SetRate(netdev string, vf int, minimum, maximum uint32) error
	SetSpoofChk(netdev string, vf int, on bool) error
	SetTrust(netdev string, vf int, on bool) error
	SetLinkState(netdev string, vf int, state string) error
	SetGUIDs(netdev string, vf int, node, port string) error
}

// Links handles interfaces. A namespace is a path; "" is the host's own, in which the
// plugin runs.
type Links interface {
	// Namespace identifies a network namespace, and reports whether there is one.
	Namespace(path string) (id host.NetNSID, exists bool)
	// MountNS identifies the mount namespace in which paths are seen.
	MountNS() uint64
	// Hidden reports whether a namespace that is not at its path may be there for those who
	// saw the path in a mount namespace.
	Hidden(path string, id host.NetNSID, mountNS uint64) bool
	// Find gives the interface of a device in a namespace, nil if it is not there.
	Find(ns, device string) (*Link, error)
	// Search finds the interface of a device in any namespace that a process is in or
	// that is mounted, nil if it is in none.
	Search(device string) (ns string, link *Link, err error)
	// Exists reports whether a name is taken, be it as an alternative name.
	Exists(ns, name string) (bool, error)
	Rename(ns string, index int, name string) error
	AddAltName(ns string, index int, name string) error
	RemoveAltName(ns string, index int, name string) error
	Move(ns string, index int, to string) error
	SetUp(ns string, index int, up bool) error
	SetMAC(ns string, index int, mac string) error
	SetMTU(ns string, index, mtu int) error
	// Traits gives what a pod may change of an interface on the host.
	Traits(index int) (*Traits, error)
	// SetTraits makes what differs between two as it is in want, but for what ethtool sets.
	SetTraits(index int, now, want *Traits) error
	// SetEthtool sets one of the values that Traits gives.
	SetEthtool(index int, what string, value []byte) error
	// Prepare sets how the kernel treats the addresses of an interface in the pod, before it
	// comes up: they are announced whenever it does, and stay when it goes down.
	Prepare(ns, name string) error
	// Configure puts addresses and routes onto an interface, and waits for addresses to
	// become usable.
	Configure(ctx context.Context, ns string, link *Link, result *current.Result) error
	// Verify reports which addresses and routes are not there.
	Verify(ns string, link *Link, result *current.Result) error
	// Announce informs the neighbours about the addresses.
	Announce(ctx context.Context, ns string, link *Link, result *current.Result) error
}

// Time for a whole verb, so that there is some left to undo before the caller loses
// patience: plexus gives a plugin 60 s.
const (
	addTimeout  = 40 * time.Second
	undoTimeout = 15 * time.Second
	delTimeout  = 50 * time.Second
)

// The pause before hardware that is busy, or a namespace that is being taken down, is
// tried again: longer each time, up to a limit.
const (
	retryPause    = 10 * time.Millisecond
	maxRetryPause = 500 * time.Millisecond
)

// Engine carries out the verbs.
type Engine struct {
	Store   Store
	Devices Devices
	PF      PF
	Links   Links
	Exec    invoke.Exec // runs IPAM plugins; nil is libcni's own
	Path    []string    // where IPAM plugins are
	BootID  string
	// SRIOVCNI is the folder in which sriov-cni keeps its state; "" if there is none.
	SRIOVCNI string
	Log      *slog.Logger
}

// Call is what a runtime says besides the configuration.
type Call struct {
	ContainerID string
	NetNS       string
	IfName      string
	Args        string
}

// virtualFunction gives the VF of a device ID, or an error that says what it is instead.
func (e *Engine) virtualFunction(id string) (*sriov.Device, error) {
	device, err := e.Devices.Device(id)
	if err != nil {
		return nil, types.WithCode(types.CodeInvalidConfig, fmt.Errorf("deviceID: %w", err))
	}
	if device.Kind != sriov.KindVF || device.Index == nil || device.PF == nil {
		return nil, types.WithCode(types.CodeInvalidConfig, &types.FieldError{Field: "deviceID", Problem: fmt.Sprintf("%s is not a virtual function but a %s", id, device.Kind)})
	}
	return device, nil
}

// lives reports whether the sandbox that a state was made for is still there.
func (e *Engine) lives(s *State) bool {
	id, exists := e.Links.Namespace(s.NetNS)
	return exists && s.BootID == e.BootID && id.MayBe(s.netNSID())
}

// mayLive is lives for a caller that may not see the sandbox: its VF is not for others.
func (e *Engine) mayLive(s *State) bool {
	return e.lives(s) || s.BootID == e.BootID && e.Links.Hidden(s.NetNS, s.netNSID(), s.MountNSInode)
}

// busyPatience is how long a step is tried while the kernel or a driver is busy: NICs reset
// themselves, and others work on interfaces too.
const busyPatience = 2 * time.Second

// whileBusy takes a step, and takes it again while it is refused with EBUSY or EAGAIN.
func whileBusy(ctx context.Context, step func() error) error {
	ctx, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	return retry(ctx, func() (bool, error) {
		err := step()
		return !isBusy(err), err
	})
}

func isBusy(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EAGAIN) }

// readPF reads what the PF keeps of a VF.
func (e *Engine) readPF(ctx context.Context, netdev string, vf int) (settings *sriov.VFSettings, err error) {
	err = whileBusy(ctx, func() error {
		settings, err = e.PF.Read(netdev, vf)
		return err
	})
	return settings, err
}

// setUp brings an interface up or takes it down.
func (e *Engine) setUp(ctx context.Context, ns string, index int, up bool) error {
	return whileBusy(ctx, func() error { return e.Links.SetUp(ns, index, up) })
}

// setPFMAC sets the MAC that the PF keeps of a VF.
func (e *Engine) setPFMAC(ctx context.Context, netdev string, vf int, mac string) error {
	return whileBusy(ctx, func() error { return e.PF.SetMAC(netdev, vf, mac) })
}

// set sets one thing that the PF keeps of a VF.
func (e *Engine) set(ctx context.Context, f *setting, netdev string, vf int, to *sriov.VFSettings) error {
	return whileBusy(ctx, func() error { return f.set(e.PF, netdev, vf, to) })
}

// retry tries again and again until try is done, or ctx ends: then the error is the last
// one of try, and that of ctx.
func retry(ctx context.Context, try func() (done bool, err error)) error {
	for pause := retryPause; ; pause = min(2*pause, maxRetryPause) {
		done, err := try()
		if done {
			return err
		}
		select {
		case <-ctx.Done():
			return types.Join(err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
