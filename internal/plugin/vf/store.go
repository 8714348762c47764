package vf

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/types"
)

// Store is the folder of states. A state's name says whose the VF is: to write it is to
// claim the VF, and whoever does holds the VF's lock.
type Store struct{ Dir string }

func (s Store) folder() *statefile.Folder[State] {
	return &statefile.Folder[State]{
		Dir: s.Dir, Format: stateFormat,
		Name:  func(s *State) string { return s.name() },
		Check: (*State).check,
	}
}

// Claim is the right to touch one VF. The lock's file stays for ever, and names the
// attachment that released the VF last.
type Claim struct {
	store  Store
	device string
	file   *os.File
}

// Claim takes the lock of a VF, waiting until ctx ends.
func (s Store) Claim(ctx context.Context, device string) (*Claim, error) {
	if err := (Key{Device: device, ContainerID: "c", IfName: "i"}).check(); err != nil {
		return nil, err
	}
	file, err := s.folder().Lock(ctx, device)
	if err != nil {
		return nil, fmt.Errorf("lock of device %s: %w", device, err)
	}
	c := &Claim{store: s, device: device, file: file}
	c.removeUnfinished()
	return c, nil
}

// removeUnfinished removes what a killed writer left of the VF's states.
func (c *Claim) removeUnfinished() {
	unfinished, _ := c.store.keys((*statefile.Folder[State]).Unfinished)
	for _, key := range unfinished {
		if key.Device == c.device {
			_ = c.store.folder().RemoveUnfinished(key.name())
		}
	}
}

// Release gives the lock up.
func (c *Claim) Release() { _ = c.file.Close() }

// Holders gives the states of the VF.
func (c *Claim) Holders() ([]Key, error) {
	all, err := c.store.List()
	return slices.DeleteFunc(all, func(k Key) bool { return k.Device != c.device }), err
}

// Save puts a state on the disk, whole, with its folder, before it returns.
func (c *Claim) Save(s *State) error {
	if err := c.store.folder().Write(s); err != nil {
		return err
	}
	_ = c.file.Truncate(0) // whoever released it last has it again, or is history
	return nil
}

// Remove removes a state, and notes whose it was: a DEL that comes again finds nothing
// to do.
func (c *Claim) Remove(key Key) error {
	host.KillPoint()
	c.note(key)
	host.KillPoint()
	if err := c.store.folder().Remove(key.name()); err != nil {
		return err
	}
	host.KillPoint()
	return nil
}

// note writes who released the VF last. Nothing but a repeated DEL depends on it.
func (c *Claim) note(key Key) {
	data, _ := json.Marshal(key)
	if _, err := c.file.WriteAt(data, 0); err == nil {
		_ = c.file.Truncate(int64(len(data)))
	}
}

// LastReleased gives the attachment that released the VF last.
func (c *Claim) LastReleased() (Key, bool) {
	data := make([]byte, 1<<10)
	n, _ := c.file.ReadAt(data, 0)
	var key Key
	return key, json.Unmarshal(data[:n], &key) == nil
}

// SetAside renames a state that cannot be read, for an operator to inspect.
func (c *Claim) SetAside(key Key) error { return c.store.folder().SetAside(key.name()) }

// List gives the keys of all states, ordered by file name. A folder that does not exist
// has none.
func (s Store) List() ([]Key, error) { return s.keys((*statefile.Folder[State]).Names) }

func (s Store) keys(list func(*statefile.Folder[State]) ([]string, error)) ([]Key, error) {
	names, err := list(s.folder())
	var keys []Key
	for _, name := range names {
		if key, ok := parseKey(name); ok {
			keys = append(keys, key)
		}
	}
	return keys, err
}

// Of gives the states of one attachment, also those whose writer was killed; there is
// more than one only after the kind of accident that GC is for.
func (s Store) Of(containerID, ifName string) ([]Key, error) {
	whole, err := s.List()
	unfinished, err2 := s.keys((*statefile.Folder[State]).Unfinished)
	var keys []Key
	for _, k := range append(whole, unfinished...) {
		if k.ContainerID == containerID && k.IfName == ifName && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys, types.Join(err, err2)
}

// Read gives a state. The error is fs.ErrNotExist, or one of package statefile or of the
// file system.
func (s Store) Read(key Key) (*State, error) { return s.folder().Read(key.name()) }

// Writable reports why no state could be written.
func (s Store) Writable() error { return s.folder().Writable() }
