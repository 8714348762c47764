// Package durable writes what must be there after a power cut. (The journal has its own, since
// delegate may not link what is internal.)
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// WriteFile writes a new file and returns once its content is on the disk; a file that has the
// name is removed first, and a link is never followed. The name itself is on the disk after
// [SyncDir].
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

// SyncDir returns once the names in a folder are on the disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
