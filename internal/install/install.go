// Package install puts Plexus onto a node and takes it away again: its executables into
// the folder of the CNI plugins, and a configuration, made around the default network's
// own, before all others in the runtime's folder.
//
// Everything is put under its name whole and at once, the configuration last, so that a
// runtime that calls at any time, and an install that is killed at any point, find a
// node that works: without Plexus, or with it.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/types"
)

// executables are those of Plexus that a node needs, in the order of copying: a plexus
// that is there finds its plexus-once.
var executables = []string{"plexus-once", "plexus"}

// devicePlugins are plugins of ours that networks may name. They are copied where --from has
// them: a node that is given none needs none.
var devicePlugins = []string{"plexus-sriov", "plexus-vhostuser"}

// allExecutables are all that an install may have copied, in the order of copying.
func allExecutables() []string { return slices.Concat(devicePlugins, executables) }

// toCopy are the executables that this install copies, in order.
func (i *Installer) toCopy() []string {
	return slices.DeleteFunc(allExecutables(), func(name string) bool {
		_, err := os.Lstat(filepath.Join(i.From, name))
		return errors.Is(err, fs.ErrNotExist) && slices.Contains(devicePlugins, name)
	})
}

const (
	modeExecutable fs.FileMode = 0o755
	modeConf       fs.FileMode = 0o600
	modeFolder     fs.FileMode = 0o755
)

// Installer puts Plexus onto a node.
type Installer struct {
	Options
	log     *slog.Logger
	news    *news
	pace    pace
	metrics *metrics
	inUse   inUse
	waiting func(reason error) // called now and then while the default network is not ready
}

// New gives an installer. The error, of IsMisuse, has every fault of the options, also
// those that only the generated configuration would show.
func New(options Options, log *slog.Logger) (*Installer, error) {
	i := &Installer{Options: options.withDefaults(), log: log, news: newNews(log), pace: defaultPace, metrics: newMetrics(), waiting: func(error) {}}
	if err := i.check(); err != nil {
		return nil, misuseError{err}
	}
	_, err := i.generate(&confdir.File{Name: "10-default.conflist", Conf: &types.NetConf{}})
	if err != nil {
		return nil, err
	}
	return i, nil
}

// IsMisuse reports whether the error is one of the options.
func IsMisuse(err error) bool { return errors.Is(err, errMisuse) }

// Install copies the executables, waits for the default network, and writes the
// configuration. The error says what to do; the configuration of before still works then.
func (i *Installer) Install(ctx context.Context) error {
	_, _, err := i.install(ctx)
	return err
}

// install gives the content of the configuration that it has installed, and the file of the
// default network that it is made around.
func (i *Installer) install(ctx context.Context) (content []byte, master string, err error) {
	if err := i.prepare(); err != nil {
		return nil, "", err
	}
	if err := i.copyExecutables(ctx); err != nil {
		return nil, "", err
	}
	found, err := i.awaitMaster(ctx)
	if err != nil {
		return nil, "", err
	}
	if content, err = i.generate(found); err != nil {
		return nil, "", err
	}
	i.blameCilium()
	if err := i.writeConf(ctx, content); err != nil {
		return nil, "", err
	}
	i.warnOfRivals()
	return content, found.Name, nil
}

// prepare makes the folders and checks everything that could stop the install later.
func (i *Installer) prepare() error {
	for _, dir := range []string{i.BinDir, i.ConfDir} {
		if link := confdir.DanglingLink(dir); link != "" {
			return fmt.Errorf("%s is %s", dir, link)
		}
		if err := os.MkdirAll(dir, modeFolder); err != nil {
			return explain(err)
		}
	}
	i.warnOfFallback()
	return i.refuseForeign()
}

func (i *Installer) confPath() string { return filepath.Join(i.ConfDir, i.ConfName) }

// refuseForeign gives an error if another program's file has the name of ours.
func (i *Installer) refuseForeign() error {
	path := i.confPath()
	data, err := confdir.ReadSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return named(path, err)
	}
	if confdir.OwnerOf(data) != confdir.Plexus {
		return fmt.Errorf("%s is there, and is no configuration of plexus: move it away, or choose another --conf-name", path)
	}
	return nil
}

// locked does something with the folders to itself: other installs wait.
func (i *Installer) locked(ctx context.Context, do func() error) error {
	release, err := lockFolder(ctx, i.BinDir, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer release()
	return do()
}

func (i *Installer) copyExecutables(ctx context.Context) error {
	return i.locked(ctx, func() error {
		if err := removeTemps(i.BinDir); err != nil {
			return explain(err)
		}
		for _, name := range i.toCopy() {
			if err := i.copyExecutable(name); err != nil {
				return fmt.Errorf("install %s: %w", name, err)
			}
		}
		return nil
	})
}

// copyExecutable copies one executable, unless it is there already. One that is running
// goes on: its file loses the name, not the content.
func (i *Installer) copyExecutable(name string) error {
	source, target := filepath.Join(i.From, name), filepath.Join(i.BinDir, name)
	current, err := i.isInstalled(name)
	if err != nil {
		return err
	}
	if current {
		i.log.Info("executable is up to date", "file", target)
		return nil
	}
	content, err := os.Open(source)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := replaceFile(target, modeExecutable, content); err != nil {
		return err
	}
	i.log.Info("installed an executable", "file", target)
	return nil
}

// isInstalled reports whether an executable is the one to copy already.
func (i *Installer) isInstalled(name string) (bool, error) {
	source := filepath.Join(i.From, name)
	info, err := os.Stat(source)
	if err != nil {
		return false, fmt.Errorf("--from: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return false, fmt.Errorf("--from: %s is not an executable file", source)
	}
	content, err := os.Open(source)
	if err != nil {
		return false, fmt.Errorf("--from: %w", err)
	}
	defer content.Close()
	return same(filepath.Join(i.BinDir, name), modeExecutable, content)
}

// writeConf puts our configuration in its place, unless it is there already.
func (i *Installer) writeConf(ctx context.Context, content []byte) error {
	return i.locked(ctx, func() error {
		path := i.confPath()
		if err := errors.Join(i.refuseForeign(), removeTemps(i.ConfDir)); err != nil {
			return explain(err)
		}
		current, err := same(path, modeConf, bytes.NewReader(content))
		if err != nil {
			return err
		}
		if current {
			i.log.Info("configuration is up to date", "file", path)
			return nil
		}
		if err := replaceFile(path, modeConf, bytes.NewReader(content)); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		i.log.Info("installed the configuration", "file", path)
		return nil
	})
}

// blameCilium says what to do if Cilium has renamed our configuration, and removes what
// its renamed copy: before ours is put back, so that the two are never confused.
func (i *Installer) blameCilium() {
	bak := i.confPath() + ciliumSuffix
	if !isOurs(bak) {
		return
	}
	i.log.Error("Cilium has renamed the configuration of plexus, and pods start without plexus: it does so with cni.exclusive=true. "+
		"Set cni.exclusive: false in the values of Cilium's chart (cni-exclusive: \"false\" in its ConfigMap cilium-config)", "file", bak)
	if err := os.Remove(bak); err != nil {
		i.log.Warn("remove what Cilium has made of the configuration of plexus", "error", err)
	}
}

// warnOfRivals warns of other configurations that the runtime would take before ours, and
// of those that have no effect.
func (i *Installer) warnOfRivals() {
	files, err := confdir.Read(i.ConfDir)
	if err != nil {
		i.log.Warn("look for other configurations", "error", err)
		return
	}
	for _, file := range files {
		switch {
		case file.Name == i.ConfName:
		case file.Name < i.ConfName:
			i.news.warn(file.Name, "sorts before the configuration of plexus, so that the runtime takes it instead: "+
				"choose a --conf-name that sorts before it, or move it away", "file", file.Name, "owner", file.Owner, "plexus", i.ConfName)
		case file.Owner == confdir.Plexus:
			i.news.warn(file.Name, "another configuration of plexus, which is not used: remove it", "file", file.Name)
		case file.Owner == confdir.Multus:
			i.news.info(file.Name, "the configuration of Multus is passed over: new pods get plexus. "+
				"Uninstall Multus once no pod that it attached is left", "file", file.Name)
		}
	}
}

// Preview changes nothing: it logs what Install would do, and writes the configuration that
// it would generate to out. It does not wait for the default network.
func (i *Installer) Preview(out io.Writer) error {
	for _, name := range i.toCopy() {
		current, err := i.isInstalled(name)
		if err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
		if !current {
			i.log.Info("would install an executable", "file", filepath.Join(i.BinDir, name))
		}
	}
	if err := i.refuseForeign(); err != nil {
		return err
	}
	master, err := i.findMaster()
	if master == nil {
		return err
	}
	if err != nil {
		i.log.Warn("would wait for the default network", "reason", err)
	}
	content, err := i.generate(master)
	if err != nil {
		return err
	}
	i.log.Info("would write the configuration, unless it is as this", "file", i.confPath(), "master", master.Name)
	i.warnOfRivals()
	_, err = out.Write(content)
	return err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
