package kubelet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
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

func readCheckpoint(path, podUID string) ([]container, error) {
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
	containers, err := parseCheckpoint(data, podUID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return containers, nil
}

// parseCheckpoint gives the containers of a pod, sorted by name, because the file has no
// order. A pod that is not in it is ErrUnknownPod.
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
		return append(containers, container{name, []containerDevices{devices}})
	}
	containers[i].devices = append(containers[i].devices, devices)
	return containers
}
