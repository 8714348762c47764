package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	baseMode   = 0o755 // of the folders in which attachments' own are
	socketMode = 0o770 // of an attachment's own: the pod's user, and the group that the switch may be in
	configMode = 0o644
)

// folder is a folder that is held open. A pod may write to where it is, and be root
// there: so every step is by a descriptor and a plain name, and follows no link. What
// another puts in the way is an error, or is removed as what it is, never as what it
// leads to.
type folder struct{ *os.File }

// openBase opens, and makes if need be, the folder that the configuration names. Only
// its owner may write to it if anything is to be made there.
func openBase(path string, create bool) (*folder, error) {
	if create {
		if err := os.MkdirAll(path, baseMode); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && create && info.Mode().Perm()&0o022 != 0 {
		err = fmt.Errorf("folder %s: others than its owner may write to it (mode %04o): use one of mode 0755", path, info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &folder{file}, nil
}

func (f *folder) fd() int { return int(f.Fd()) }

func (f *folder) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(f.Name(), name), Err: err}
}

// open opens a folder in this one.
func (f *folder) open(name string) (*folder, error) {
	fd, err := unix.Openat(f.fd(), name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0)
	if err != nil {
		return nil, f.fail("open folder", name, err)
	}
	return &folder{os.NewFile(uintptr(fd), filepath.Join(f.Name(), name))}, nil
}

// enter opens a folder in this one, and makes it if need be.
func (f *folder) enter(name string, mode uint32) (*folder, error) {
	if err := unix.Mkdirat(f.fd(), name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, f.fail("make folder", name, err)
	}
	return f.open(name)
}

// give sets the owner and the mode of this folder itself.
func (f *folder) give(uid, gid int, mode os.FileMode) error {
	return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
}

// write puts a file into the folder, whole or not at all, in the place of whatever has
// the name.
func (f *folder) write(name string, data []byte) (err error) {
	temporary := "." + name + ".new"
	if err := f.remove(temporary); err != nil {
		return err
	}
	fd, err := unix.Openat(f.fd(), temporary, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, configMode)
	if err != nil {
		return f.fail("create", temporary, err)
	}
	file := os.NewFile(uintptr(fd), filepath.Join(f.Name(), temporary))
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(configMode), file.Close()); err != nil {
		return err
	}
	return f.fail("rename", temporary, unix.Renameat(f.fd(), temporary, f.fd(), name))
}

// read reads a regular file of the folder, of at most limit bytes.
func (f *folder) read(name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK, to open a FIFO is to wait for its other end.
	fd, err := unix.Openat(f.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, f.fail("open", name, err)
	}
	file := os.NewFile(uintptr(fd), filepath.Join(f.Name(), name))
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, f.fail("read", name, fmt.Errorf("is not a file of at most %d bytes", limit))
	}
	data := make([]byte, info.Size())
	_, err = file.ReadAt(data, 0)
	return data, err
}

// remove removes what has a name and is not a folder; nothing there is success.
func (f *folder) remove(name string) error {
	if err := unix.Unlinkat(f.fd(), name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.fail("remove", name, err)
	}
	return nil
}

// removeDir removes a folder if it is there, is one, and is empty.
func (f *folder) removeDir(name string) error {
	err := unix.Unlinkat(f.fd(), name, unix.AT_REMOVEDIR)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.fail("remove folder", name, err)
}

// removeTree removes what has a name, and if it is a folder all that is in it. It
// goes no deeper than it has descriptors for: what lies deeper it lifts up, level by
// level, so that no tree that a pod can build is too deep.
func (f *folder) removeTree(ctx context.Context, name string) error {
	if err := unix.Unlinkat(f.fd(), name, 0); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return f.fail("remove", name, err)
	}
	top, err := f.open(name)
	if err != nil {
		return err
	}
	defer top.Close()
	for lifted := 0; ; {
		names, err := top.names()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return f.removeDir(name)
		}
		for _, inner := range names {
			if err := context.Cause(ctx); err != nil {
				return f.fail("remove", name, err)
			}
			if err := top.flatten(inner, &lifted); err != nil {
				return err
			}
		}
	}
}

// names gives what is in the folder now.
func (f *folder) names() ([]string, error) {
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	return f.Readdirnames(-1)
}

// flatten removes an entry of the folder; if it is a folder, the folders in it come
// into this one.
func (f *folder) flatten(name string, lifted *int) error {
	if unix.Unlinkat(f.fd(), name, 0) == nil {
		return nil
	}
	inner, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer inner.Close()
	names, err := inner.names()
	if err != nil {
		return err
	}
	for _, deep := range names {
		if unix.Unlinkat(inner.fd(), deep, 0) == nil || unix.Unlinkat(inner.fd(), deep, unix.AT_REMOVEDIR) == nil {
			continue
		}
		*lifted++
		up := ".lifted." + strconv.Itoa(*lifted)
		err := unix.Renameat2(inner.fd(), deep, f.fd(), up, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return inner.fail("remove", deep, err)
		}
	}
	err = unix.Unlinkat(f.fd(), name, unix.AT_REMOVEDIR)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return f.fail("remove folder", name, err)
	}
	return nil
}
