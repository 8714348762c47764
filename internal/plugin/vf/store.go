package vf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// maxState bounds what is read of a state, in bytes.
const maxState = 4 << 20

// Store is the folder of states. The name of a state tells whose the VF is: to write it
// is to claim the VF, and whoever does holds the VF's lock.
type Store struct{ Dir string }

// Claim is the right to touch one VF. The lock's file stays for ever, and says who
// released the VF last.
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
	if err := host.MakeDir(s.Dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	file, err := host.LockFile(ctx, filepath.Join(s.Dir, device+lockSuffix))
	if err != nil {
		err = fmt.Errorf("lock of device %s: %w", device, err)
		if errors.Is(err, host.ErrLocked) {
			err = types.WithCode(types.CodeTryAgainLater, err)
		}
		return nil, err
	}
	c := &Claim{store: s, device: device, file: file}
	c.clear()
	return c, nil
}

// clear removes what a writer left that ended in the middle: nothing was done for it.
func (c *Claim) clear() {
	names, _ := filepath.Glob(filepath.Join(c.store.Dir, "*"+stateSuffix+newSuffix))
	for _, name := range names {
		if key, ok := parseKey(strings.TrimSuffix(filepath.Base(name), newSuffix)); ok && key.Device == c.device {
			_ = os.Remove(name)
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

// Save puts a state on disk, whole, with its folder, before it returns.
func (c *Claim) Save(s *State) error {
	if err := s.Key.check(); err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("state of %s: %w", s.Key, err)
	}
	path := c.store.path(s.Key)
	if err := host.ReplaceFile(path, path+newSuffix, 0o600, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("state of %s: %w", s.Key, err)
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
	path := c.store.path(key)
	if err := host.RemoveFiles(path+newSuffix, path); err != nil {
		return fmt.Errorf("state of %s: %w", key, err)
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

// List gives the keys of all states, ordered by file name. A folder that does not exist
// has none.
func (s Store) List() ([]Key, error) { return s.list("") }

// list gives the keys of the files with a suffix more than a state's.
func (s Store) list(suffix string) ([]Key, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var keys []Key
	for _, entry := range entries {
		name, has := strings.CutSuffix(entry.Name(), suffix)
		if key, ok := parseKey(name); ok && has {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Of gives the states of one attachment, also those that were not yet whole when their
// writer ended; there is more than one only after the kind of accident that GC is for.
func (s Store) Of(containerID, ifName string) ([]Key, error) {
	whole, err := s.List()
	torn, err2 := s.list(newSuffix)
	var keys []Key
	for _, k := range append(whole, torn...) {
		if k.ContainerID == containerID && k.IfName == ifName && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys, types.Join(err, err2)
}

// Read gives a state. The error is fs.ErrNotExist, ErrDamagedState, ErrNewerState or of
// the file system.
func (s Store) Read(key Key) (*State, error) {
	data, err := host.ReadFile(s.path(key), maxState)
	if errors.Is(err, host.ErrNotPlain) {
		err = fmt.Errorf("%w: %w", ErrDamagedState, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", key, err)
	}
	state, err := ParseState(data)
	if err == nil && state.Key != key {
		err = fmt.Errorf("%w: it is that of %s", ErrDamagedState, state.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", key, err)
	}
	return state, nil
}

// SetAside renames a state that cannot be read, for people to look at.
func (c *Claim) SetAside(key Key) error {
	if _, err := host.SetAside(c.store.path(key)); err != nil {
		return fmt.Errorf("state of %s: %w", key, err)
	}
	return nil
}

// Writable tells whether states can be kept.
func (s Store) Writable() error {
	if err := host.MakeDir(s.Dir); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	file, err := os.CreateTemp(s.Dir, ".status-")
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := types.Join(file.Close(), os.Remove(file.Name())); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

func (s Store) path(key Key) string { return filepath.Join(s.Dir, key.file()) }

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}
