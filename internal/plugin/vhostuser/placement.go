package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// walk opens the folders of a place, one in the other, and gives them from the base on.
// Some may be open beside an error.
func (p *Place) walk(create bool) (opened []*folder, err error) {
	at, err := openBase(p.Base, create)
	if err != nil {
		return nil, err
	}
	opened = append(opened, at)
	for _, name := range p.Dirs {
		if create {
			at, err = at.enter(name, baseMode)
		} else {
			at, err = at.open(name)
		}
		if err != nil {
			return opened, err
		}
		opened = append(opened, at)
	}
	return opened, nil
}

func closeAll(folders []*folder) {
	for _, f := range folders {
		_ = f.Close()
	}
}

// make makes the attachment's folder and the configuration file in it. A folder in
// which the last interface of another sandbox was may go as we come to it: so again.
func (p *Place) make(uid, gid int, config []byte) error {
	const attempts = 5
	var err error
	for range attempts {
		if err = p.makeOnce(uid, gid, config); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	return nil
}

func (p *Place) makeOnce(uid, gid int, config []byte) error {
	folders, err := p.walk(true)
	defer closeAll(folders)
	if err != nil {
		return err
	}
	own := folders[len(folders)-1]
	if err := own.give(uid, gid, socketMode); err != nil {
		return err
	}
	if err := own.remove(p.Socket); err != nil {
		return err
	}
	return own.write(p.Config, config)
}

// remove removes the attachment's folder with all that the pod has put there, and the
// folders above it that it leaves empty. If others still use the folder, only the
// attachment's own files go.
func (p *Place) remove(ctx context.Context, shared bool) error {
	folders, err := p.walk(false)
	defer closeAll(folders)
	if err != nil && !isGone(err) {
		return fmt.Errorf("socket folder: %w", err)
	}
	if len(folders) == 0 {
		return nil
	}
	last := len(folders) - 1
	switch {
	case last < len(p.Dirs): // what stands in a folder's place, if anything does, is not entered
		err = folders[last].remove(p.Dirs[last])
	case shared:
		return types.Join(folders[last].remove(p.Socket), folders[last].remove(p.Config))
	default:
		last--
		err = folders[last].removeTree(ctx, p.Dirs[last])
	}
	if err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	for i := last - 1; i >= 0; i-- {
		if folders[i].removeDir(p.Dirs[i]) != nil {
			break // others are in it
		}
	}
	return nil
}

// isGone reports whether there is no folder where one was to be.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// verify reports what of a place is not as it was made.
func (p *Place) verify(uid, gid int, config []byte) error {
	folders, err := p.walk(false)
	defer closeAll(folders)
	if err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	own := folders[len(folders)-1]
	info, err := own.Stat()
	if err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	return types.Join(verifyOwner(own.Name(), info, uid, gid), verifyConfig(own, p.Config, config))
}

func verifyOwner(path string, info os.FileInfo, uid, gid int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != uid || int(stat.Gid) != gid || info.Mode().Perm() != socketMode {
		return fmt.Errorf("socket folder %s: is %s of %d:%d, was made as %s of %d:%d", path,
			info.Mode().Perm(), stat.Uid, stat.Gid, os.FileMode(socketMode), uid, gid)
	}
	return nil
}

func verifyConfig(own *folder, name string, want []byte) error {
	got, err := own.read(name, int64(len(want)))
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	if string(got) != string(want) {
		return fmt.Errorf("configuration file %s/%s: is not what was written", own.Name(), name)
	}
	return nil
}
