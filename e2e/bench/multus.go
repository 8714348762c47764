package main

import (
	"context"
	"path/filepath"

	"github.com/plexus-cni/plexus/e2e/harness/multus"
)

// installMultus installs Multus once, as the manifest does that it publishes.
func (l *lab) installMultus(ctx context.Context) (err error) {
	if l.multus != nil {
		return nil
	}
	l.multus, err = multus.Install(ctx, multus.Options{
		BinDir: l.multusBin, Plugins: l.plugins, Dir: filepath.Join(l.dir, "multus"),
		Cluster: l.cluster, Node: nodeName, Network: defaultNetwork(),
	})
	return err
}

// thinMultus gives the configuration of the plugin that does everything itself.
func (l *lab) thinMultus(ctx context.Context) (object, error) {
	if err := l.installMultus(ctx); err != nil {
		return nil, err
	}
	return l.multus.Thin(), nil
}

// thickMultus gives the configuration of the plugin that asks the daemon, which runs from now on.
func (l *lab) thickMultus(ctx context.Context) (_ object, err error) {
	if err := l.installMultus(ctx); err != nil {
		return nil, err
	}
	if l.daemon == nil {
		if l.daemon, err = l.multus.StartDaemon(ctx); err != nil {
			return nil, err
		}
	}
	return l.daemon.Delegating()
}
