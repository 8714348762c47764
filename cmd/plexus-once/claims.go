package main

import (
	"context"
	"slices"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// claimWriter is a source that takes the status of claims. A folder of manifests does not.
type claimWriter interface {
	ApplyClaimStatus(ctx context.Context, part types.ClaimPart, devices []types.ClaimStatus) error
}

// claimBacklog writes what the journal says of the devices of claims.
type claimBacklog struct {
	journal *journal.Journal
	to      claimWriter
	bootID  string
}

// run writes the claims of a container: of each what all live sandboxes of the node have of it,
// since a write replaces the one before. What is refused or fails is left to the next ADD.
func (c *claimBacklog) run(ctx context.Context, containerID string) {
	parts := c.partsOf(containerID)
	if len(parts) == 0 {
		return
	}
	said := map[types.ClaimPart][]types.ClaimStatus{}
	keys, err := c.journal.List()
	if err != nil {
		return
	}
	for _, key := range keys {
		record, err := c.journal.Read(key)
		if err != nil {
			continue
		}
		for _, status := range record.ClaimStatuses(c.bootID) {
			said[status.Part] = append(said[status.Part], status)
		}
	}
	for _, part := range parts {
		_ = c.to.ApplyClaimStatus(ctx, part, types.NewestClaimStatuses(said[part]))
	}
}

// partsOf gives the parts of claims that the records of a container name, each once.
func (c *claimBacklog) partsOf(containerID string) []types.ClaimPart {
	var parts []types.ClaimPart
	keys, _ := c.journal.OfContainer(containerID)
	for _, key := range keys {
		record, err := c.journal.Read(key)
		if err != nil {
			continue
		}
		for _, part := range record.ClaimParts() {
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}
