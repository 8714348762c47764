package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/types"
)

// errNotYet is the kind of an error that time may mend.
var errNotYet = errors.New("the default network is not ready")

// findMaster chooses the file of the default network. An error of errNotYet names what
// is still missing: with a file that it is not ready, without one that there is none.
func (i *Installer) findMaster() (*confdir.File, error) {
	files, err := confdir.Read(i.ConfDir)
	if err != nil {
		return nil, err
	}
	master, err := i.choose(files)
	if err != nil {
		return nil, err
	}
	return master, i.ready(master)
}

// choose gives the first file that may be the default network's, in the runtime's order. A
// file that only the runtime sees may be it: nothing after it is chosen.
func (i *Installer) choose(files []confdir.File) (*confdir.File, error) {
	var passed []string
	for n := range files {
		file := &files[n]
		if !i.isCandidate(file) {
			continue
		}
		if errors.Is(file.Fault, confdir.ErrDangling) {
			return nil, fmt.Errorf("%w: %s: %w", errNotYet, file.Name, file.Fault)
		}
		why := i.unfit(file)
		if why == "" {
			return file, nil
		}
		passed = append(passed, file.Name+": "+why)
		report := i.news.info
		if file.Local != "" {
			report = i.news.warn
		}
		report("unfit "+file.Name, "a configuration is passed over", "file", file.Name, "reason", why)
	}
	what := "no configuration of a default network"
	if i.Master != "" {
		what = fmt.Sprintf("no configuration %q (--master)", i.Master)
	}
	if len(passed) > 0 {
		what += " (passed over: " + strings.Join(passed, "; ") + ")"
	}
	return nil, fmt.Errorf("%w: %s in %s", errNotYet, what, i.ConfDir)
}

// isCandidate reports whether a file is one of those that --master leaves to choose from.
func (i *Installer) isCandidate(file *confdir.File) bool {
	switch {
	case file.Name == i.ConfName && file.Owner == confdir.Plexus:
		return false // ours is not the default network's
	case i.Master == "":
		return true
	case slices.Contains(confdir.Extensions, filepath.Ext(i.Master)):
		return file.Name == i.Master
	}
	return file.Conf != nil && file.Conf.Name == i.Master
}

// unfit says why a file cannot be the default network's, "" if it can.
func (i *Installer) unfit(file *confdir.File) string {
	switch {
	case file.Owner != confdir.Others:
		return "it is " + file.Owner.String() + " own"
	case file.Fault != nil:
		return file.Fault.Error()
	case file.Local != "" && i.Master == "":
		return file.Local + ": name it by --master if the cluster's pods are to use it"
	}
	return ""
}

// ready gives an error of errNotYet if the default network's plugins, or its file that
// says so, are not there yet.
func (i *Installer) ready(master *confdir.File) error {
	var missing []string
	for _, name := range confdir.Executables(master.Conf) {
		path := filepath.Join(i.BinDir, name)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			continue
		}
		if link := confdir.DanglingLink(path); link != "" {
			name += " (" + link + ")"
		}
		missing = append(missing, name)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s names executables that are not in %s yet: %s", errNotYet, master.Name, i.BinDir, strings.Join(missing, ", "))
	}
	if i.ReadinessFile == "" {
		return nil
	}
	if _, err := os.Stat(i.ReadinessFile); err != nil {
		return fmt.Errorf("%w: --readiness-file: %w", errNotYet, err)
	}
	return nil
}

// awaitMaster waits for the default network until it is ready, ctx ends, or the time is
// over. The error then says what was missing. It keeps the executables meanwhile, which
// pods need to end. The error is host.ErrMoved if the default network would not be seen here.
func (i *Installer) awaitMaster(ctx context.Context) (*confdir.File, error) {
	waiting, cancel := i.limited(ctx)
	defer cancel()
	watch := i.newWatch() // before the first search, so that nothing is missed between
	defer watch.close()
	guard, mounted := newGuard(i), i.mounted()
	reason := reminder{every: i.pace.remind}
	for {
		master, err := i.findMaster()
		if err == nil {
			i.log.Info("the default network is ready", "file", master.Name, "network", master.Conf.Name)
			return master, nil
		}
		if !errors.Is(err, errNotYet) {
			return nil, err
		}
		if reason.due(err.Error(), time.Now()) {
			i.log.Info("waiting for the default network", "reason", err)
		}
		i.waiting(err)
		if moved := checkMounted(mounted); moved != nil {
			return nil, moved
		}
		if ended := watch.wait(waiting, guard.round(waiting)); ended != nil {
			return nil, i.gaveUp(ctx, err)
		}
	}
}

func (i *Installer) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if i.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, i.Timeout)
}

func (i *Installer) gaveUp(ctx context.Context, reason error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted, and no configuration written: %w", reason)
	}
	return fmt.Errorf("--timeout: gave up after %v: %w", i.Timeout, reason)
}

// capabilitiesOf gives the capabilities that a network's plugins declare.
func capabilitiesOf(conf *types.NetConf) map[string]bool {
	all := map[string]bool{}
	for _, plugin := range conf.Plugins {
		for name, wanted := range plugin.Capabilities {
			if wanted {
				all[name] = true
			}
		}
	}
	return all
}
