package vhostuser

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plexus-cni/plexus/types"
)

// deviceInfoVersion is the version of the device information specification.
const deviceInfoVersion = "1.1.0"

// writeDeviceInfo writes the file by which the meta-plugin learns of the socket, and
// through it the pod's network status: the path is the pod's.
func writeDeviceInfo(path, socket string) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(types.DeviceInfo{
		Type: "vhost-user", Version: deviceInfoVersion, VhostUser: &types.VhostUserDevice{Mode: appMode, Path: socket},
	})
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	temporary := path + ".new"
	err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(temporary, data, 0o644))
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	return nil
}

func removeDeviceInfo(path string) error {
	if path == "" {
		return nil
	}
	for _, name := range []string{path + ".new", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("device information: %w", err)
		}
	}
	return nil
}
