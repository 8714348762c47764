package kubelet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/plexus-cni/plexus/types"
)

// containerClaim is what a container has of one claim. Its devices do not say the claim.
type containerClaim struct {
	name, namespace string
	devices         []types.ClaimedDevice
}

// claimsInOrder gives the devices of claims, each once: claims in the order in which containers
// name them, and of each the devices by driver, pool and name, because the kubelet's answer has
// its drivers in random order. A claim of another namespace cannot be the pod's.
func claimsInOrder(containers []container, namespace string) []types.ClaimedDevice {
	var names []string
	byClaim := map[string][]types.ClaimedDevice{}
	for _, c := range containers {
		for _, claim := range c.claims {
			if claim.namespace != "" && claim.namespace != namespace {
				continue
			}
			names = append(names, claim.name)
			byClaim[claim.name] = append(byClaim[claim.name], claim.devices...)
		}
	}
	ordered := []types.ClaimedDevice{}
	for _, name := range names {
		devices := byClaim[name]
		delete(byClaim, name)
		slices.SortStableFunc(devices, compareDevices)
		for _, d := range slices.CompactFunc(devices, isSameDevice) {
			d.Claim = name
			ordered = append(ordered, d)
		}
	}
	return ordered
}

func compareDevices(a, b types.ClaimedDevice) int {
	return cmp.Or(cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ShareID, b.ShareID))
}

func isSameDevice(a, b types.ClaimedDevice) bool { return compareDevices(a, b) == 0 }

// ErrTornCheckpoint is the error for a file of claims that is not what the kubelet wrote.
var ErrTornCheckpoint = errors.New("it is not a whole claim checkpoint")

// claimFile is the file in which the kubelet's manager of claims notes them. It is
// internal to the kubelet, as the one of devices is.
type claimFile struct {
	Data     string // JSON: claimEntries
	Checksum uint32 // of Data
}

type claimEntries struct {
	ClaimInfoStateList []claimEntry
}

type claimEntry struct {
	ClaimName, Namespace string
	PodUIDs              map[string]struct{}
	DriverState          map[string]struct{ Devices []claimEntryDevice }
}

type claimEntryDevice struct {
	PoolName, DeviceName string
	ShareID              string
	RequestNames         []string
}

// parseClaimCheckpoint gives the claims of a pod, sorted by name, because the file has no order.
// It does not say which containers use them: they are given as those of one.
func parseClaimCheckpoint(data []byte, podUID string) ([]container, error) {
	entries, err := readClaimEntries(data)
	if err != nil {
		return nil, err
	}
	var all container
	for i := range entries {
		if _, named := entries[i].PodUIDs[podUID]; named {
			all.claims = append(all.claims, entries[i].claim())
		}
	}
	if len(all.claims) == 0 {
		return nil, ErrUnknownPod
	}
	slices.SortFunc(all.claims, func(a, b containerClaim) int { return cmp.Compare(a.name, b.name) })
	return []container{all}, nil
}

func readClaimEntries(data []byte) ([]claimEntry, error) {
	var file claimFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTornCheckpoint, err)
	}
	if file.Data == "" {
		return nil, fmt.Errorf("%w: it has no Data", ErrTornCheckpoint)
	}
	if crc32.ChecksumIEEE([]byte(file.Data)) != file.Checksum {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrTornCheckpoint)
	}
	var entries claimEntries
	if err := json.Unmarshal([]byte(file.Data), &entries); err != nil {
		return nil, fmt.Errorf("%w: its Data: %w", ErrTornCheckpoint, err)
	}
	return entries.ClaimInfoStateList, nil
}

// claim gives the claim with its devices, each for the first of its requests.
func (e *claimEntry) claim() containerClaim {
	claim := containerClaim{name: e.ClaimName, namespace: e.Namespace}
	for driver, state := range e.DriverState {
		for _, d := range state.Devices {
			device := types.ClaimedDevice{Driver: driver, Pool: d.PoolName, Name: d.DeviceName, ShareID: d.ShareID}
			if len(d.RequestNames) > 0 {
				device.Request = d.RequestNames[0]
			}
			claim.devices = append(claim.devices, device)
		}
	}
	return claim
}
