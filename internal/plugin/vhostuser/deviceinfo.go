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

// newDeviceInfo is where the file is written before it gets its name, which may have
// all the bytes already that a name can have.
func (s *State) newDeviceInfo() string {
	return filepath.Join(filepath.Dir(s.DeviceInfo), "."+s.Port)
}

// writeDeviceInfo writes the file by which the meta-plugin learns of the socket, and
// through it the pod's network status: the path is the pod's.
func (s *State) writeDeviceInfo(socket string) error {
	if s.DeviceInfo == "" {
		return nil
	}
	data, err := json.Marshal(types.DeviceInfo{
		Type: "vhost-user", Version: deviceInfoVersion, VhostUser: &types.VhostUserDevice{Mode: appMode, Path: socket},
	})
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	err = errors.Join(os.MkdirAll(filepath.Dir(s.DeviceInfo), 0o755), os.WriteFile(s.newDeviceInfo(), data, 0o644))
	if err == nil {
		err = os.Rename(s.newDeviceInfo(), s.DeviceInfo)
	}
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	return nil
}

func (s *State) removeDeviceInfo() error {
	if s.DeviceInfo == "" {
		return nil
	}
	for _, name := range []string{s.newDeviceInfo(), s.DeviceInfo} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("device information: %w", err)
		}
	}
	return nil
}
