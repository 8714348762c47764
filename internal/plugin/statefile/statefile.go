// Package statefile keeps what a plugin needs to undo its work: a folder of states, each a
// JSON file that is written before anything is done, and goes when everything is undone.
package statefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// Errors of states, for errors.Is. One that is not there is fs.ErrNotExist.
var (
	ErrDamaged = errors.New("cannot be read")
	ErrNewer   = errors.New("was written by a newer version of this plugin")
)

const (
	suffix     = ".json"
	newSuffix  = ".new" // after suffix: a state that was not yet whole when its writer was killed
	lockSuffix = ".lock"

	maxSize = 4 << 20 // bytes
)

// Folder is a folder of states of one type, root's alone. T has a key "format".
type Folder[T any] struct {
	Dir    string
	Format int               // of the states that are written; a higher one is of a newer version
	Name   func(s *T) string // names the file, without its suffix
	Check  func(s *T) error  // reports what cannot be right; root acts on what a state says
}

// CheckName reports why a name cannot be that of a state, or a part of it.
func CheckName(name string) error {
	if name == "" || strings.ContainsAny(name, "/\x00\n") || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q cannot be part of a file's name", name)
	}
	if len(name)+len(suffix)+len(newSuffix) > unix.NAME_MAX {
		return fmt.Errorf("%.60q… is too long for a file's name", name)
	}
	return nil
}

// Path gives the file of a state.
func (f *Folder[T]) Path(name string) string { return filepath.Join(f.Dir, name+suffix) }

// Read gives a state.
func (f *Folder[T]) Read(name string) (*T, error) {
	path := f.Path(name)
	data, err := host.ReadFile(path, maxSize)
	if errors.Is(err, host.ErrNotPlain) {
		return nil, fmt.Errorf("state %s: %w: %w", path, ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s, err := f.Parse(data)
	if err == nil && f.Name(s) != name {
		err = fmt.Errorf("%w: it is the state of %s", ErrDamaged, f.Name(s))
	}
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	return s, nil
}

// Parse reads the content of a state's file. The error is ErrDamaged or ErrNewer.
func (f *Folder[T]) Parse(data []byte) (*T, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if head.Format > f.Format { // first: the rest may have another shape
		return nil, fmt.Errorf("%w (format %d): use that one", ErrNewer, head.Format)
	}
	if head.Format < 1 {
		return nil, fmt.Errorf("%w: it is no state", ErrDamaged)
	}
	s := new(T)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := f.Check(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// Write puts a state on the disk, whole or not at all. It refuses one that could not be
// read again.
func (f *Folder[T]) Write(s *T) error {
	name := f.Name(s)
	data, err := json.Marshal(s)
	if err := types.Join(err, f.Check(s), CheckName(name)); err != nil {
		return fmt.Errorf("state %s: %w", name, err)
	}
	path := f.Path(name)
	if err := types.Join(host.MakeDir(f.Dir), host.ReplaceFile(path, path+newSuffix, 0o600, bytes.NewReader(data))); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// Remove removes a state, and what a killed writer left of it. Neither there is success.
func (f *Folder[T]) Remove(name string) error {
	path := f.Path(name)
	if err := host.RemoveFiles(path+newSuffix, path); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// SetAside renames a state that cannot be read, for an operator to inspect.
func (f *Folder[T]) SetAside(name string) error {
	if _, err := host.SetAside(f.Path(name), host.Corrupt); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// Names gives the names of all states, ordered. A folder that does not exist has none.
func (f *Folder[T]) Names() ([]string, error) { return f.names(suffix) }

// Unfinished gives the names of the states that a killed writer left. Nothing was done
// for them.
func (f *Folder[T]) Unfinished() ([]string, error) { return f.names(suffix + newSuffix) }

// RemoveUnfinished removes what a killed writer left.
func (f *Folder[T]) RemoveUnfinished(name string) error {
	return host.RemoveFiles(f.Path(name) + newSuffix)
}

func (f *Folder[T]) names(suffix string) ([]string, error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), suffix); ok && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Lock takes a lock of the folder, and waits for it until ctx ends. Closing the file
// gives the lock up; the file stays.
func (f *Folder[T]) Lock(ctx context.Context, name string) (*os.File, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := host.MakeDir(f.Dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	file, err := host.LockFile(ctx, filepath.Join(f.Dir, name+lockSuffix))
	if errors.Is(err, host.ErrLocked) {
		err = types.WithCode(types.CodeTryAgainLater, err)
	}
	return file, err
}

// Writable reports why no state could be written.
func (f *Folder[T]) Writable() error {
	err := host.MakeDir(f.Dir)
	if err == nil {
		var file *os.File
		if file, err = os.CreateTemp(f.Dir, ".status-"); err == nil {
			err = types.Join(file.Close(), os.Remove(file.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}
