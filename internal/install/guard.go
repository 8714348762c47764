package install

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
)

// guard keeps the executables of plexus in the folder of the plugins as --from has them.
type guard struct {
	*Installer
	equal   map[string][2]host.FileID // by name: --from's file and the node's when their content was equal
	trouble backoff
}

func newGuard(i *Installer) *guard {
	return &guard{Installer: i, equal: map[string][2]host.FileID{}, trouble: backoff{first: i.pace.first, longest: i.pace.longest}}
}

// intact reports whether the node has an executable as --from has it. It reads the two only
// when one of them has changed.
func (g *guard) intact(name string) (bool, error) {
	source, err := host.FileIDOf(filepath.Join(g.From, name))
	if err != nil {
		return false, err
	}
	target, err := host.FileIDOf(filepath.Join(g.BinDir, name))
	ids := [2]host.FileID{source, target}
	if err == nil && g.equal[name] == ids {
		return true, nil
	}
	current, err := g.isInstalled(name)
	if current {
		g.equal[name] = ids
	}
	return current, err
}

// broken gives the executables that are missing or changed.
func (g *guard) broken() (names []string) {
	for _, name := range g.toCopy() {
		intact, err := g.intact(name)
		switch {
		case err != nil:
			g.news.warn(name, "read an executable of plexus", "file", name, "error", err)
		case intact:
			g.news.over(name)
		default:
			names = append(names, name)
		}
	}
	return names
}

// round puts back the executables that are missing or changed, unless it is too early to do
// so again, and gives how long to wait.
func (g *guard) round(ctx context.Context) time.Duration {
	names := g.broken()
	if len(names) == 0 {
		return g.pace.recheck
	}
	if early := g.trouble.remaining(time.Now()); early > 0 {
		return early
	}
	g.trouble.strike(time.Now())
	err := g.locked(ctx, func() error {
		var faults []error
		for _, name := range names {
			faults = append(faults, g.putBack(name))
		}
		return errors.Join(faults...)
	})
	if err != nil {
		g.log.Error("put an executable of plexus back", "error", err)
		return g.trouble.remaining(time.Now())
	}
	return g.pace.recheck
}

func (g *guard) putBack(name string) error {
	g.log.Warn("somebody has removed or changed an executable of plexus; it is put back",
		"file", filepath.Join(g.BinDir, name), "notAgainBefore", g.trouble.pause)
	if err := g.copyExecutable(name); err != nil {
		return err
	}
	g.metrics.repairs.WithLabelValues(repairExecutable).Inc()
	return nil
}
