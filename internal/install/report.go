package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/types"
)

const modeReport fs.FileMode = 0o600

// found keeps what a follower found out, for its probes and metrics, and for the agent.
func (i *Installer) found(found use, network string) {
	i.inUse.set(found, i.metrics)
	if i.Socket == "" {
		return
	}
	if err := i.writeReport(found, network); err != nil {
		i.news.warn("report", "tell the agent whether this node uses plexus", "error", err)
		return
	}
	i.news.over("report")
}

// writeReport writes the file that the agent reads. Without the folder of the agent's socket
// there is no agent, and nothing to write.
func (i *Installer) writeReport(found use, network string) error {
	path := types.NodeUseFile(i.Socket)
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	report := &types.NodeUse{
		Checked: time.Now(), Version: version.Version, File: filepath.Join(i.HostConfDir, i.ConfName),
		Network: network, Faults: make(map[string]string, len(found)),
	}
	for reason, fault := range found {
		report.Faults[reason] = ""
		if fault != nil {
			report.Faults[reason] = fault.Error()
		}
	}
	data, err := types.FormatNodeUse(report)
	if err != nil {
		return err
	}
	return host.ReplaceFile(path, path+tempSuffix, modeReport, bytes.NewReader(data))
}

// withdrawReport removes the file, as nobody follows any more.
func (i *Installer) withdrawReport() {
	if i.Socket == "" {
		return
	}
	if err := host.RemoveFiles(types.NodeUseFile(i.Socket)); err != nil {
		i.log.Warn("remove what the agent was told of this node", "error", err)
	}
}

// waitsFor is what a follower found out while it waits for the default network.
func waitsFor(reason error) use {
	return use{types.UseDefaultNetwork: fmt.Errorf("plexus is not installed yet: %w", reason)}
}
