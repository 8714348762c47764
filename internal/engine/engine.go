// Package engine makes the Engine that carries out the verbs for a configuration of Plexus: for plexus, and
// for whoever releases a sandbox by hand.
package engine

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/source"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// New makes an Engine. cniPath are more folders of plugins, as CNI_PATH has them.
func New(config *types.Config, cniPath string, log *slog.Logger) (*delegate.Engine, error) {
	bootID, err := host.BootID()
	if err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	path := append([]string{config.BinDir}, filepath.SplitList(cniPath)...)
	return &delegate.Engine{
		Config:          config,
		Path:            path,
		Self:            self(),
		Source:          source.New(config, delegate.StateDir(config), path, log),
		MultusDirs:      []string{"/var/lib/cni/multus"},
		RuntimeCacheDir: libcni.CacheDir,
		DeviceInfos: sriov.InfoFiles{
			DeviceInfoDir: sriov.DefaultDeviceInfoDir, DevicePlugin: sriov.DefaultDevicePluginInfoDir, Sysfs: sriov.DefaultSysfs,
		},
		BootID:      bootID,
		TraceParent: os.Getenv("TRACEPARENT"),
		Log:         log,
	}, nil
}

// self identifies this executable, nil if it is gone: it may be replaced as it runs.
func self() os.FileInfo {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil
	}
	return info
}
