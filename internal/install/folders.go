package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// folders keeps the folders of the node that a follower works in.
type folders struct {
	*Installer
	mounted []host.Mounted
	locked  fs.FileInfo // the folder of configurations whose lock we hold
	release func()
}

// newFolders takes over the lock of the folder of configurations.
func newFolders(i *Installer, release func()) (*folders, error) {
	info, err := os.Stat(i.ConfDir)
	return &folders{Installer: i, locked: info, release: release, mounted: i.mounted()}, err
}

// mounted gives the folders that may be mounts, as they are now.
func (i *Installer) mounted() []host.Mounted {
	mounted := []host.Mounted{host.NewMounted(i.ConfDir, i.HostConfDir), host.NewMounted(i.BinDir, i.HostBinDir)}
	if i.Socket != "" { // whose folder has the same path everywhere
		mounted = append(mounted, host.NewMounted(filepath.Dir(i.Socket), ""))
	}
	return mounted
}

// moved gives an error if a folder has its name on the host no more.
func (f *folders) moved() error { return checkMounted(f.mounted) }

// checkMounted gives an error if a folder has its name on the host no more: nothing can be
// seen in the new one, or put into it, from here.
func checkMounted(folders []host.Mounted) error {
	for _, folder := range folders {
		if err := folder.Check(); err != nil {
			return err
		}
	}
	return nil
}

// keep makes folders that were removed again, and takes the lock of one that was made anew:
// by that an uninstall notices the follower.
func (f *folders) keep() error {
	for _, dir := range []string{f.BinDir, f.ConfDir} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(dir, modeFolder); err != nil {
			return fmt.Errorf("make a folder again that somebody has removed: %w", explain(err))
		}
		f.log.Warn("somebody has removed a folder of the node; it is made again", "folder", dir)
		f.metrics.repairs.WithLabelValues(repairFolder).Inc()
	}
	info, err := os.Stat(f.ConfDir)
	if err != nil || os.SameFile(info, f.locked) {
		return err
	}
	release, err := tryLockFolder(f.ConfDir, unix.LOCK_SH)
	if err != nil {
		return err
	}
	f.release()
	f.locked, f.release = info, release
	return nil
}
