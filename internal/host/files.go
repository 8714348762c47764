package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// ErrNotPlain is the error for what is no plain file, or a larger one than can be right.
var ErrNotPlain = errors.New("is not a file of the expected kind and size")

// WriteFile writes a new file and returns once its content is on the disk; a file that has
// the name is removed first, and a link is never followed. The name itself is on the disk
// after [SyncDir].
func WriteFile(path string, mode fs.FileMode, content io.Reader) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	if err := file.Chmod(mode); err != nil { // not by open, which the umask narrows
		return err
	}
	return file.Sync()
}

// ReplaceFile puts content under a name at once, and returns when it is on the disk:
// whoever opens the name finds the whole old file or the whole new one, also after a
// power cut. It is written under the temporary name, in the same folder; a process that
// is killed leaves that behind.
func ReplaceFile(path, temporary string, mode fs.FileMode, content io.Reader) error {
	KillPoint()
	if err := WriteFile(temporary, mode, content); err != nil {
		return errors.Join(err, RemoveFiles(temporary))
	}
	KillPoint()
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, RemoveFiles(temporary))
	}
	KillPoint()
	return SyncDir(parentOf(path))
}

// SyncDir returns once the names in a folder are on the disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// RemoveFiles removes files; one that is not there is no error, not on a disk either on
// which nothing can be removed.
func RemoveFiles(paths ...string) error {
	var faults []error
	for _, path := range paths {
		err := os.Remove(path)
		if err == nil {
			continue
		}
		if _, missing := os.Lstat(path); !errors.Is(missing, fs.ErrNotExist) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// ReadFile reads a plain file of at most so many bytes. The error is ErrNotPlain if there
// is something else under the name; a link is followed.
func ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: %w (at most %d bytes)", path, ErrNotPlain, limit)
	}
	return os.ReadFile(path)
}

// Why a file is set aside, and the end of its name from then on.
const (
	Corrupt = ".corrupt"  // it cannot be read
	GivenUp = ".given-up" // what it stands for could not be done
)

// SetAside renames a file, for people to look at, and gives its new path: with the suffix
// at the end, and a number where one was set aside before.
func SetAside(path, suffix string) (string, error) {
	aside := path + suffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = path + suffix + "." + strconv.Itoa(n)
	}
	return aside, os.Rename(path, aside)
}

func parentOf(path string) string { return filepath.Dir(filepath.Clean(path)) }
