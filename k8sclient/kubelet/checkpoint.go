package kubelet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/plexus-cni/plexus/types"
)

// maxCheckpoint bounds the file: it holds what every container of the node was given.
const maxCheckpoint = 64 << 20

// checkpoint is the part that is read of the file in which the kubelet's device manager
// notes its allocations. It is internal to the kubelet, not an API; Multus reads it too.
type checkpoint struct {
	Data *struct {
		PodDeviceEntries []checkpointEntry
	}
}

type checkpointEntry struct {
	PodUID        string
	ContainerName string
	ResourceName  string
	DeviceIDs     map[string][]string // by NUMA node
}

// parser gives the containers of a pod from the data of a checkpoint. A pod that is not in it is
// ErrUnknownPod.
type parser func(data []byte, podUID string) ([]container, error)

// readCheckpoints reads the kubelet's files, which know the pod if one of them names it. A file
// that is there and cannot be read may name it: its devices would be missing.
func (d Devices) readCheckpoints(podUID string) ([]container, error) {
	var containers []container
	var absent []error
	for _, file := range []struct {
		key, path string
		parse     parser
	}{
		{"deviceCheckpoint", d.Checkpoint, parseCheckpoint},
		{"claim checkpoint", d.claimCheckpoint(), parseClaimCheckpoint},
	} {
		if file.path == "" {
			continue
		}
		found, err := readCheckpoint(file.path, podUID, file.parse)
		if err != nil {
			err = fmt.Errorf("%s: %w", file.key, err)
			if !errors.Is(err, ErrUnknownPod) && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			absent = append(absent, err)
		}
		containers = append(containers, found...)
	}
	if len(containers) == 0 {
		return nil, types.Join(absent...)
	}
	return containers, nil
}

func readCheckpoint(path, podUID string, parse parser) ([]container, error) {
	if podUID == "" {
		return nil, errors.New("the runtime did not say the pod's UID, by which the file names pods")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCheckpoint+1))
	if err == nil && len(data) > maxCheckpoint {
		err = fmt.Errorf("it is longer than %d bytes", maxCheckpoint)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	containers, err := parse(data, podUID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return containers, nil
}

// parseCheckpoint gives the containers of a pod, sorted by name, because the file has no
// order.
func parseCheckpoint(data []byte, podUID string) ([]container, error) {
	var c checkpoint
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("it is not a device checkpoint: %w", err)
	}
	if c.Data == nil {
		return nil, errors.New("it is not a device checkpoint: it has no Data")
	}
	var containers []container
	for _, entry := range c.Data.PodDeviceEntries {
		if entry.PodUID != podUID {
			continue
		}
		devices := containerDevices{entry.ResourceName, slices.Concat(slices.Collect(maps.Values(entry.DeviceIDs))...)}
		containers = add(containers, entry.ContainerName, devices)
	}
	if len(containers) == 0 {
		return nil, ErrUnknownPod
	}
	slices.SortFunc(containers, func(a, b container) int { return cmp.Compare(a.name, b.name) })
	return containers, nil
}

// add gives a container of that name more devices.
func add(containers []container, name string, devices containerDevices) []container {
	i := slices.IndexFunc(containers, func(c container) bool { return c.name == name })
	if i < 0 {
		return append(containers, container{name: name, devices: []containerDevices{devices}})
	}
	containers[i].devices = append(containers[i].devices, devices)
	return containers
}
