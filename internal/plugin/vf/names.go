package vf

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// A name of an interface is taken if any interface of the namespace has it, also as an alternative
// name. udev gives those while we work, to each interface that comes to the host or is renamed there.

// rename gives the VF's interface a name, and takes it down for that. An alternative name of its own
// that is the same gives way. Others may bring the interface up, or give the alternative name again,
// before the kernel renames it: then all of it is done again.
func (e *Engine) rename(ctx context.Context, ns, device, name string) error {
	ctx, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	return retry(ctx, func() (bool, error) {
		link, err := e.find(ns, device)
		if err != nil || link.Name == name {
			return !isBusy(err), err
		}
		err = e.renameOnce(ns, link, name)
		if errors.Is(err, unix.EEXIST) {
			again, findErr := e.find(ns, device)
			return findErr != nil || !again.hasName(name), err
		}
		return !isBusy(err), err
	})
}

func (e *Engine) renameOnce(ns string, link *Link, name string) error {
	if link.Up {
		host.KillPoint()
		if err := e.Links.SetUp(ns, link.Index, false); err != nil {
			return fmt.Errorf("take it down: %w", err)
		}
	}
	if slices.Contains(link.AltNames, name) {
		host.KillPoint()
		if err := e.Links.RemoveAltName(ns, link.Index, name); err != nil && !isGone(err) {
			return fmt.Errorf("remove its alternative name: %w", err)
		}
	}
	host.KillPoint()
	return e.Links.Rename(ns, link.Index, name)
}

// isGone reports whether something that was to be removed was not there any more.
func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) }

// find gives the VF's interface in a namespace.
func (e *Engine) find(ns, device string) (*Link, error) {
	link, err := e.Links.Find(ns, device)
	if err == nil && link == nil {
		err = fmt.Errorf("it is not in %s", orHost(ns))
	}
	return link, err
}

func orHost(ns string) string {
	if ns == "" {
		return "the host's network namespace"
	}
	return ns
}

// hasName reports whether an interface has a name, be it an alternative one.
func (l *Link) hasName(name string) bool { return l.Name == name || slices.Contains(l.AltNames, name) }

// move moves the VF's interface to another namespace. The kernel refuses it where one of its names is
// taken, so alternative names that are taken there give way.
func (e *Engine) move(ctx context.Context, ns, device, to string) error {
	return whileBusy(ctx, func() error {
		link, err := e.find(ns, device)
		if err != nil {
			return err
		}
		for _, name := range link.AltNames {
			if taken, err := e.Links.Exists(to, name); err == nil && taken {
				e.removeAltName(ns, link, name)
			}
		}
		host.KillPoint()
		return e.Links.Move(ns, link.Index, to)
	})
}

// takeHome moves the interface from a namespace to the host. It gets its own name there before, since
// udev names what comes under another one. If the pod or the host has given that name to another
// interface, or it is not known, the interface comes under a name that is nobody else's. The pod may
// have given that one, too, to keep the VF: then it comes under one that nobody could foresee.
func (e *Engine) takeHome(ctx context.Context, ns string, s *State) error {
	link, err := e.find(ns, s.Device)
	if err != nil {
		return err
	}
	host.KillPoint()
	if err := e.setUp(ctx, ns, link.Index, false); err != nil {
		return fmt.Errorf("device %s: take interface %s in %s down: %w", s.Device, link.Name, ns, err)
	}
	names := []string{TemporaryName(s.Device), randomName()}
	if s.Link != nil {
		e.removeNewNames(ns, link, s.Link)
		names = slices.Insert(names, 0, s.Link.Name)
	}
	for _, name := range names {
		if err = e.rename(ctx, ns, s.Device, name); err != nil {
			err = fmt.Errorf("device %s: rename interface %s in %s to %s: %w", s.Device, link.Name, ns, name, err)
		} else if err = e.move(ctx, ns, s.Device, ""); err != nil {
			err = fmt.Errorf("device %s: move interface %s from %s to the host: %w", s.Device, name, ns, err)
		}
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	host.KillPoint()
	return err
}

// randomName gives an interface's name that no pod can foresee.
func randomName() string { return "vf" + strings.ToLower(rand.Text()[:12]) }

// removeNewNames removes the alternative names that the interface did not have before the ADD. In the
// pod they are what udev added on the way, and keep names from the pod; on the way home they are the
// pod's, and would be names of the host's.
func (e *Engine) removeNewNames(ns string, link, before *Link) {
	for _, name := range link.AltNames {
		if !slices.Contains(before.AltNames, name) {
			e.removeAltName(ns, link, name)
		}
	}
}

// removeAltName removes an alternative name. What fails for it reports it.
func (e *Engine) removeAltName(ns string, link *Link, name string) {
	host.KillPoint()
	if err := e.Links.RemoveAltName(ns, link.Index, name); err != nil {
		e.Log.Warn("an alternative name stays", "interface", link.Name, "name", name, "error", err)
	}
}

// restoreNames gives the interface on the host its name back, and the alternative names that are
// missing. Of these, one that another interface has by now stays there.
func (e *Engine) restoreNames(ctx context.Context, s *State, link *Link) error {
	if link.Name != s.Link.Name {
		if err := e.rename(ctx, "", s.Device, s.Link.Name); err != nil {
			return fmt.Errorf("%s: rename interface %s back to %s: %w", s.whereabouts(), link.Name, s.Link.Name, err)
		}
	}
	for _, name := range s.Link.AltNames {
		if slices.Contains(link.AltNames, name) {
			continue
		}
		host.KillPoint()
		if err := e.Links.AddAltName("", link.Index, name); err != nil && !errors.Is(err, unix.EEXIST) {
			e.Log.Warn("an alternative name is lost", "device", s.Device, "name", name, "error", err)
		}
	}
	return nil
}
