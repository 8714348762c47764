package vhostuser

import "github.com/plexus-cni/plexus/sriov"

// writeDeviceInfo writes the file from which the meta-plugin learns the path of the socket inside the
// pod, for the pod's network status.
func (s *State) writeDeviceInfo(socket string) error {
	if s.DeviceInfo == "" {
		return nil
	}
	return sriov.WriteInfo(s.DeviceInfo, sriov.VhostUserInfo(appMode, socket))
}

func (s *State) removeDeviceInfo() error {
	if s.DeviceInfo == "" {
		return nil
	}
	return sriov.RemoveInfo(s.DeviceInfo)
}
