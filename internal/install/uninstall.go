package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// versionTimeout bounds the question to an executable whether it is one of Plexus.
const versionTimeout = 5 * time.Second

// UninstallOptions are what to remove, and how.
type UninstallOptions struct {
	From     string // folder of the executables as they were copied, if it is there
	BinDir   string
	ConfDir  string
	ConfName string
	CNIDir   string // the installed configuration's if empty
	Release  bool   // take the networks from sandboxes that live, instead of refusing
}

func (o *UninstallOptions) check() error {
	faults := []error{checkConfName(o.ConfName)}
	for _, p := range []struct{ flag, path string }{{"bin-dir", o.BinDir}, {"conf-dir", o.ConfDir}, {"cni-dir", o.CNIDir}} {
		if !filepath.IsAbs(p.path) && (p.path != "" || p.flag != "cni-dir") {
			faults = append(faults, fmt.Errorf("--%s: must be an absolute path, got %q", p.flag, p.path))
		}
	}
	return types.Join(faults...)
}

// Uninstaller takes Plexus away from a node.
type Uninstaller struct {
	UninstallOptions
	log *slog.Logger
}

// NewUninstaller gives an uninstaller. The error, of IsMisuse, has every fault of the options.
func NewUninstaller(options UninstallOptions, log *slog.Logger) (*Uninstaller, error) {
	if err := options.check(); err != nil {
		return nil, misuseError{err}
	}
	return &Uninstaller{UninstallOptions: options, log: log}, nil
}

func (u *Uninstaller) confPath() string { return filepath.Join(u.ConfDir, u.ConfName) }

// Uninstall removes the configuration, so that the runtime falls back to the default
// network's own, and then the executables. While anything is attached by Plexus, or
// stays recorded, it is an error, and both stay: a later DEL needs them.
func (u *Uninstaller) Uninstall(ctx context.Context) error {
	release, err := u.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	conf, err := u.installed()
	if err != nil {
		return err
	}
	if err := u.clear(ctx, conf); err != nil {
		return err
	}
	if err := u.removeConf(ctx, conf); err != nil {
		return err
	}
	return errors.Join(u.removeExecutables(ctx), u.removeState(conf))
}

// lock keeps installs out. One that follows would undo what is done here.
func (u *Uninstaller) lock(ctx context.Context) (release func(), err error) {
	conf, err := tryLockFolder(u.ConfDir, unix.LOCK_EX)
	switch {
	case errors.Is(err, errHeld):
		return nil, fmt.Errorf("%w: an install --follow would put back what is removed: delete plexus's DaemonSet first", err)
	case errors.Is(err, fs.ErrNotExist):
		conf = func() {}
	case err != nil:
		return nil, fmt.Errorf("--conf-dir: %w", err)
	}
	bin, err := lockFolder(ctx, u.BinDir, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return conf, nil
	}
	if err != nil {
		conf()
		return nil, fmt.Errorf("--bin-dir: %w", err)
	}
	return func() { bin(); conf() }, nil
}

// installed gives our configuration as it is installed, nil if it is not.
func (u *Uninstaller) installed() ([]byte, error) {
	for _, path := range []string{u.confPath(), u.aside(), u.confPath() + ciliumSuffix} {
		data, err := confdir.ReadSmall(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, named(path, err)
		}
		if confdir.OwnerOf(data) == confdir.Plexus {
			return data, nil
		}
		u.log.Warn("no configuration of plexus: left as it is", "file", path)
	}
	return nil, nil
}

// aside is where the configuration is while an uninstall goes on, and stays if it is
// killed.
func (u *Uninstaller) aside() string { return filepath.Join(u.ConfDir, "."+u.ConfName+tempSuffix) }

// cniDir gives the folder of the state, from --cni-dir or else the configuration.
func (u *Uninstaller) cniDir(conf []byte) string {
	if u.CNIDir != "" {
		return u.CNIDir
	}
	var list struct {
		Plugins []struct {
			Type   string `json:"type"`
			CNIDir string `json:"cniDir"`
		} `json:"plugins"`
	}
	_ = json.Unmarshal(conf, &list) // what can be read of it counts
	for _, plugin := range list.Plugins {
		if plugin.Type == "plexus" && plugin.CNIDir != "" {
			return plugin.CNIDir
		}
	}
	return types.DefaultCNIDir
}

// clear empties the journal: it releases dead sandboxes, and with --release living ones.
// Without it a living one is an error that says what to do.
func (u *Uninstaller) clear(ctx context.Context, conf []byte) error {
	cniDir := u.cniDir(conf)
	all, err := readRecords(cniDir)
	if err != nil {
		return err
	}
	if alive := living(all); len(alive) > 0 && !u.Release {
		return refusal(alive)
	}
	r := releaser{conf: conf, binDir: u.BinDir, cniDir: cniDir, log: u.log}
	failed := r.releaseAll(ctx, all)
	left, err := readRecords(cniDir)
	if err = types.Join(failed, err); err == nil && len(left) > 0 {
		err = errors.New("they are recorded still")
	}
	if err != nil {
		return fmt.Errorf("%w: the executables and the configuration stay, for %s: mend the cause and run this again", err, list(left))
	}
	return nil
}

func refusal(alive []recorded) error {
	return fmt.Errorf("attached by plexus and alive: %s: drain the node first (kubectl drain NODE --ignore-daemonsets), "+
		"or use --release, which takes their networks from them", list(alive))
}

// removeConf removes our configuration, unless sandboxes were attached since it was
// looked: then it is put back.
func (u *Uninstaller) removeConf(ctx context.Context, conf []byte) error {
	if isOurs(u.confPath()) {
		aside := u.aside()
		if err := os.Rename(u.confPath(), aside); err != nil {
			return fmt.Errorf("remove the configuration: %w", explain(err))
		}
		if err := u.clear(ctx, conf); err != nil {
			return errors.Join(err, os.Rename(aside, u.confPath()))
		}
		u.log.Info("removed the configuration; the runtime goes back to the next one in the folder", "file", u.confPath())
	}
	if err := u.removeTraces(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the configuration: %w", err)
	}
	return nil
}

// removeTraces removes what has been our configuration: as Cilium has renamed it, and
// as an uninstall or an install that was killed has left it.
func (u *Uninstaller) removeTraces() error {
	if bak := u.confPath() + ciliumSuffix; isOurs(bak) {
		if err := os.Remove(bak); err != nil {
			return err
		}
	}
	if err := removeTemps(u.ConfDir); err != nil {
		return err
	}
	return host.SyncDir(u.ConfDir)
}

// removeExecutables removes those that are ours, unless a configuration is left that
// names them.
func (u *Uninstaller) removeExecutables(ctx context.Context) error {
	user, err := u.stillUsed()
	if err != nil {
		return err
	}
	if user != "" {
		u.log.Warn("the executables stay: another configuration of plexus needs them; uninstall it with --conf-name", "file", user)
		return nil
	}
	for _, name := range slices.Backward(allExecutables()) { // plexus first: it needs the others
		path := filepath.Join(u.BinDir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !u.isOurExecutable(ctx, name) {
			u.log.Warn("left as it is: it is not one that was installed, nor does it say that it is plexus's", "file", path)
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove an executable: %w", explain(err))
		}
		u.log.Info("removed an executable", "file", path)
	}
	if err := errors.Join(removeTemps(u.BinDir), host.SyncDir(u.BinDir)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stillUsed gives the name of a configuration of Plexus that is left in the folder.
func (u *Uninstaller) stillUsed() (string, error) {
	files, err := confdir.Read(u.ConfDir)
	for _, file := range files {
		if file.Owner == confdir.Plexus && file.Name != u.ConfName {
			return file.Name, nil
		}
	}
	return "", err
}

// isOurExecutable reports whether an executable is one that an install of any version has
// put there: its content is that of --from, or it says what it is.
func (u *Uninstaller) isOurExecutable(ctx context.Context, name string) bool {
	path := filepath.Join(u.BinDir, name)
	if source, err := os.Open(filepath.Join(u.From, name)); err == nil {
		defer source.Close()
		if is, err := same(path, modeExecutable, source); err == nil && is {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return err == nil && strings.HasPrefix(string(out), name+" v")
}

// removeState removes the folders of the state that are empty now; what people have to
// look at, which is setAside, keeps its folder.
func (u *Uninstaller) removeState(conf []byte) error {
	cniDir := u.cniDir(conf)
	for _, dir := range []string{filepath.Join(cniDir, "plexus"), filepath.Join(cniDir, "results"), cniDir} {
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("remove an empty folder: %w", err)
		}
	}
	return nil
}

// Preview does nothing but write to out what Uninstall would do.
func (u *Uninstaller) Preview(ctx context.Context, out io.Writer) error {
	conf, err := u.installed()
	if err != nil {
		return err
	}
	all, err := readRecords(u.cniDir(conf))
	if err != nil {
		return err
	}
	if alive := living(all); len(alive) > 0 && !u.Release {
		return refusal(alive)
	}
	for n := range all {
		fmt.Fprintf(out, "would release %s\n", &all[n])
	}
	for _, path := range setAside(u.cniDir(conf)) {
		fmt.Fprintf(out, "would leave %s, which was set aside for people to look at\n", path)
	}
	return u.previewFiles(ctx, out)
}

func (u *Uninstaller) previewFiles(ctx context.Context, out io.Writer) error {
	for _, path := range []string{u.confPath(), u.confPath() + ciliumSuffix} {
		if isOurs(path) {
			fmt.Fprintf(out, "would remove %s\n", path)
		}
	}
	user, err := u.stillUsed()
	if err != nil {
		return err
	}
	if user != "" {
		fmt.Fprintf(out, "would leave the executables: %s needs them\n", user)
		return nil
	}
	for _, name := range slices.Backward(allExecutables()) {
		if u.isOurExecutable(ctx, name) {
			fmt.Fprintf(out, "would remove %s\n", filepath.Join(u.BinDir, name))
		}
	}
	return nil
}
