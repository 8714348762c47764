package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/engine"
	"github.com/plexus-cni/plexus/internal/inspect"
)

// releaser releases records of the node that this process runs on, by the code of DEL.
type releaser struct{ *delegate.Engine }

// open makes the engine of the node's configuration, or of plexus's defaults if there is none.
func (f *configFlags) open(stderr io.Writer) (*releaser, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("releasing needs root: run it on the node with sudo")
	}
	n, err := openNode(f.config, f.confDir)
	if err != nil {
		return nil, err
	}
	if n.fault != nil {
		return nil, n.fault
	}
	for _, note := range n.assumed {
		fmt.Fprintf(stderr, "%s: assumed: %s\n", program, note)
	}
	if dir := filepath.Join(n.config.CNIDir, "plexus"); !exists(dir) {
		return nil, fmt.Errorf("this machine has no journal in %s: Plexus attached nothing here, or its configuration has another cniDir (--config)", dir)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	made, err := engine.New(n.config, os.Getenv("CNI_PATH"), log)
	return &releaser{made}, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// collect releases every record whose sandbox is gone, or says that it would.
func (r *releaser) collect(ctx context.Context, dryRun bool) (*inspect.ReleaseList, error) {
	stale, err := r.Stale()
	if err != nil {
		return nil, err
	}
	list := inspect.NewReleaseList(dryRun)
	for i := range stale {
		if ctx.Err() != nil {
			return list, ctx.Err()
		}
		item := r.describe(&stale[i])
		if !dryRun {
			r.release(ctx, stale[i].Key, &item, false)
		}
		list.Items = append(list.Items, item)
	}
	return list, nil
}

// describe gives a record with what is still to be released of it.
func (r *releaser) describe(stale *delegate.Stale) inspect.Release {
	item := inspect.Release{ContainerID: stale.Key.ContainerID, Why: stale.Why, Attachments: []inspect.ReleasedNetwork{}}
	if stale.Record == nil {
		return item
	}
	if pod := &stale.Record.Plan.Pod; pod.Known() {
		item.Pod = pod.String()
	}
	for _, index := range stale.Record.Pending(r.BootID) {
		a := &stale.Record.Plan.Attachments[index]
		item.Attachments = append(item.Attachments, inspect.ReleasedNetwork{Network: a.Network, Interface: a.Interface})
	}
	return item
}

func (r *releaser) release(ctx context.Context, key journal.Key, item *inspect.Release, force bool) {
	released, err := r.ReleaseRecord(ctx, key, force)
	if err != nil {
		item.Error = err.Error()
	}
	item.Attachments = item.Attachments[:0]
	for _, a := range released {
		item.Attachments = append(item.Attachments, inspect.ReleasedNetwork{Network: a.Network, Interface: a.Interface, Released: a.Done})
	}
}

// releaseSandbox releases all records of one sandbox.
func (r *releaser) releaseSandbox(ctx context.Context, sandbox string, force bool) (*inspect.ReleaseList, error) {
	keys, err := r.find(sandbox)
	if err != nil {
		return nil, err
	}
	list := inspect.NewReleaseList(false)
	for _, key := range keys {
		stale, err := r.Inspect(key)
		if err != nil {
			return nil, err
		}
		if stale.Why == "" && !force {
			return nil, wrong(fmt.Errorf("sandbox %s: %w, and would lose its networks: let the runtime end it, or give --force", key.ContainerID, delegate.ErrLives))
		}
		if stale.Why == "" {
			stale.Why = "--force, although it may still be there"
		}
		item := r.describe(&stale)
		r.release(ctx, key, &item, force)
		list.Items = append(list.Items, item)
	}
	return list, nil
}

// find gives the records of the one sandbox whose ID begins so.
func (r *releaser) find(sandbox string) ([]journal.Key, error) {
	keys, err := r.Journal().List()
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(key journal.Key) bool { return !strings.HasPrefix(key.ContainerID, sandbox) })
	if exact := slices.DeleteFunc(slices.Clone(keys), func(key journal.Key) bool { return key.ContainerID != sandbox }); len(exact) > 0 {
		return exact, nil
	}
	var ids []string
	for _, key := range keys {
		ids = append(ids, key.ContainerID)
	}
	slices.Sort(ids)
	switch ids = slices.Compact(ids); len(ids) {
	case 0:
		return nil, fmt.Errorf("the journal in %s has no sandbox %s", delegate.StateDir(r.Config), sandbox)
	case 1:
		return keys, nil
	}
	return nil, misuse(fmt.Errorf("several sandboxes begin with %s: %s", sandbox, strings.Join(ids, ", ")))
}

func collectStale(cmd *cobra.Command, f *configFlags, dryRun bool) (*inspect.ReleaseList, error) {
	r, err := f.open(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	return r.collect(cmd.Context(), dryRun)
}

func releaseSandbox(cmd *cobra.Command, f *configFlags, sandbox string, force bool) (*inspect.ReleaseList, error) {
	r, err := f.open(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	return r.releaseSandbox(cmd.Context(), sandbox, force)
}
