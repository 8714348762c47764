package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/probes"
)

// ciliumSuffix is what Cilium appends to the name of every other configuration.
const ciliumSuffix = ".cilium_bak"

// follower keeps our executables and our configuration in their places, and the
// configuration in step with the default network.
type follower struct {
	*Installer
	guard   *guard
	folders *folders
	master  string // the file that content is made around
	content []byte // what is to be in our file
	written []byte // what was put into it last
	trouble backoff

	masterFault error // why there is no default network to make content around
}

// Follow installs, and then keeps the executables and the configuration in their places,
// and the configuration in step with the default network, until ctx ends, which is no
// error. All of it stays. The error is host.ErrMoved if a folder that is mounted for this
// process was moved or removed on the host: it has to be started again.
func (i *Installer) Follow(ctx context.Context) error {
	certificate, err := probes.LoadCertificate(i.MetricsCert, i.MetricsKey)
	if err != nil {
		return misuseError{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	serving.Go(func() { i.serveProbes(ctx, certificate) })
	return i.follow(ctx)
}

func (i *Installer) follow(ctx context.Context) error {
	if err := i.prepare(); err != nil {
		return err
	}
	// What an uninstall looks for: it would be undone here.
	release, err := lockFolder(ctx, i.ConfDir, unix.LOCK_SH)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	folders, err := newFolders(i, release)
	defer func() { folders.release() }()
	if err != nil {
		return err
	}
	defer i.withdrawReport()
	i.waiting = func(reason error) { i.found(waitsFor(reason), "") }
	content, master, err := i.install(ctx)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	f := &follower{
		Installer: i, guard: newGuard(i), folders: folders, master: master, content: content, written: content,
		trouble: backoff{first: i.pace.first, longest: i.pace.longest},
	}
	if err := f.run(ctx); err != nil {
		return err
	}
	i.log.Info("following has ended; the configuration stays", "file", i.confPath())
	return nil
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *follower) run(ctx context.Context) error {
	watch := f.newWatch()
	defer watch.close()
	f.log.Info("following the default network", "folder", f.ConfDir)
	for {
		if err := f.folders.moved(); err != nil {
			return err
		}
		pause := f.pace.recheck
		if err := f.folders.keep(); err != nil {
			f.news.warn("folders", "a folder of the node cannot be used", "error", err)
		} else {
			f.news.over("folders")
			watch.arm()                                   // one that was made again
			pause = min(f.guard.round(ctx), f.round(ctx)) // a DEL needs the executables, and no configuration
		}
		f.found(f.use(), f.master)
		if watch.wait(ctx, pause) != nil {
			return nil
		}
	}
}

// round inspects the folder of configurations once, does what is due, and gives how long to
// wait, unless something changes.
func (f *follower) round(ctx context.Context) time.Duration {
	f.warnOfFallback()
	fresh := f.refresh()
	state, err := f.inspect()
	switch {
	case err != nil:
		f.news.warn("read", "read the configuration of plexus", "error", err)
	case state == intact:
		f.news.over("ours")
		f.warnOfRivals()
	case state == foreign:
		f.news.warn("ours", "somebody has put another configuration in the place of that of plexus, which is not used: move it away", "file", f.confPath())
	case state == edited:
		f.news.warn("ours", "the configuration of plexus was changed by another install or by hand, and is left as it is: remove it to have it made anew", "file", f.confPath())
	case state == outdated:
		f.log.Info("the default network has changed", "master", f.master)
		return f.pauseAfter(f.put(ctx))
	case !fresh:
		f.news.warn("ours", "the configuration of plexus is gone, and is put back once the default network is ready", "file", f.confPath())
	default:
		return f.restore(ctx, state)
	}
	return f.pace.recheck
}

// refresh makes the configuration for the default network as it is now, and reports
// whether there is one. If there is none, the last one is kept.
func (f *follower) refresh() bool {
	files, err := confdir.Read(f.ConfDir)
	if err == nil {
		err = f.stillReadable(files)
	}
	var master *confdir.File
	if err == nil {
		master, err = f.choose(files)
	}
	if err == nil {
		err = f.ready(master)
	}
	var content []byte
	if err == nil {
		content, err = f.generate(master)
	}
	f.masterFault = err
	if err != nil {
		f.news.warn("master", "the configuration of plexus is kept as it is", "reason", err)
		return false
	}
	f.news.over("master")
	f.master, f.content = master.Name, content
	return true
}

// stillReadable gives an error if the present default network's file is there but
// broken: it may be half-written, which is no reason to change to another network.
func (f *follower) stillReadable(files []confdir.File) error {
	for _, file := range files {
		if file.Name == f.master && file.Fault != nil {
			return fmt.Errorf("%w: %s: %w", errNotYet, file.Name, file.Fault)
		}
	}
	return nil
}

// state is what has become of our file.
type state int

const (
	intact   state = iota
	outdated       // it is as it was written, for a default network that has changed
	missing
	renamed // by Cilium
	edited  // it is Plexus's, but not as it was written here
	foreign // it is another program's
)

func (f *follower) inspect() (state, error) {
	data, err := confdir.ReadSmall(f.confPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if isOurs(f.confPath() + ciliumSuffix) {
			return renamed, nil
		}
		return missing, nil
	case err != nil:
		return 0, named(f.confPath(), err)
	case bytes.Equal(data, f.content):
		return intact, nil
	case bytes.Equal(data, f.written):
		return outdated, nil
	case confdir.OwnerOf(data) == confdir.Plexus:
		return edited, nil
	}
	return foreign, nil
}

// isOurs reports whether the file at path is there and a configuration of Plexus.
func isOurs(path string) bool {
	data, err := confdir.ReadSmall(path)
	return err == nil && confdir.OwnerOf(data) == confdir.Plexus
}

// restore puts our file back, unless it is too early to do so again.
func (f *follower) restore(ctx context.Context, state state) time.Duration {
	if early := f.trouble.remaining(time.Now()); early > 0 {
		return early
	}
	f.trouble.strike(time.Now())
	next := f.trouble.pause
	if state == renamed {
		f.blameCilium()
		f.log.Warn("the configuration of plexus is put back", "file", f.confPath(), "notAgainBefore", next)
	} else {
		f.log.Warn("somebody has removed the configuration of plexus; it is put back", "file", f.confPath(), "notAgainBefore", next)
	}
	err := f.put(ctx)
	if err == nil {
		f.metrics.repairs.WithLabelValues(repairConfiguration).Inc()
	}
	return f.pauseAfter(err)
}

// put writes our file. The folder may be another one than when the round began, whose lock
// we have to hold before there is something for an uninstall to remove.
func (f *follower) put(ctx context.Context) error {
	err := f.folders.keep()
	if err == nil {
		err = f.writeConf(ctx, f.content)
	}
	if err != nil {
		f.trouble.strike(time.Now())
		f.log.Error("write the configuration of plexus", "file", filepath.Base(f.confPath()), "error", err)
		return err
	}
	f.written = f.content
	f.warnOfRivals()
	return nil
}

// pauseAfter gives how long to wait after our file was written, or was not.
func (f *follower) pauseAfter(err error) time.Duration {
	if err != nil {
		return f.trouble.remaining(time.Now())
	}
	return f.pace.recheck
}
