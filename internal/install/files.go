package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// tempSuffix is of files that are being written. It is no extension that a runtime
// reads, and no plugin's name.
const tempSuffix = ".plexus-tmp"

// replaceFile puts content under a name at once: a reader of the name finds the whole old
// file or the whole new one, also after a power cut. It is for the holder of the lock.
func replaceFile(path string, mode fs.FileMode, content io.Reader) (err error) {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+tempSuffix)
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
			err = explain(err)
		}
	}()
	return host.ReplaceFile(path, temp, mode, content)
}

// explain adds what to do about a folder that root without capabilities may not write
// to: some distributions give /opt/cni/bin to another user.
func explain(err error) error {
	var where *fs.PathError
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &where) {
		return err
	}
	var stat unix.Stat_t
	dir := filepath.Dir(where.Path)
	if unix.Stat(dir, &stat) != nil || int(stat.Uid) == os.Geteuid() {
		return err
	}
	return fmt.Errorf("%w: %s belongs to user %d: give it to user %d (chown), or give this container the capability DAC_OVERRIDE", err, dir, stat.Uid, os.Geteuid())
}

// removeTemps removes what an install that was killed has left in a folder. It is for
// the holder of the lock.
func removeTemps(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, tempSuffix) {
			continue
		}
		if rm := os.Remove(filepath.Join(dir, name)); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}

// same reports whether the file at path has the content and the mode.
func same(path string, mode fs.FileMode, content io.Reader) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != mode {
		return false, err
	}
	return sameContent(file, content)
}

func sameContent(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if err := errors.Join(unlessEnd(errA), unlessEnd(errB)); err != nil {
			return false, err
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA != nil { // as long as the other, so both have ended
			return true, nil
		}
	}
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// errHeld is the error for a folder that another plexus-agent works on.
var errHeld = errors.New("another plexus-agent works on it")

// lockFolder takes the lock of a folder, in the way of unix.LOCK_EX or unix.LOCK_SH,
// and waits for it until ctx ends. The error is errHeld if it was taken all the while.
func lockFolder(ctx context.Context, dir string, how int) (release func(), err error) {
	release, err = host.LockDir(ctx, dir, how)
	if errors.Is(err, host.ErrLocked) {
		err = fmt.Errorf("%s: %w: %w", dir, errHeld, context.Cause(ctx))
	}
	return release, err
}

// tryLockFolder is lockFolder without waiting.
func tryLockFolder(dir string, how int) (release func(), err error) {
	release, err = host.TryLockDir(dir, how)
	if errors.Is(err, host.ErrLocked) {
		err = fmt.Errorf("%s: %w", dir, errHeld)
	}
	return release, err
}
