package main

import (
	"context"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// claimWriter is a source that takes the status of claims. A folder of manifests does not.
type claimWriter interface {
	ApplyClaimStatus(ctx context.Context, part types.ClaimPart, status *types.ClaimStatus) error
}

// claimBacklog writes what the journal says of the devices of claims.
type claimBacklog struct {
	journal *journal.Journal
	to      claimWriter
	bootID  string
}

// run writes what the sandboxes of a container say of their devices. What is refused or fails is
// not tried again: an agent that comes writes it.
func (c *claimBacklog) run(ctx context.Context, containerID string) {
	keys, _ := c.journal.OfContainer(containerID)
	for _, key := range keys {
		record, err := c.journal.Read(key)
		if err != nil {
			continue
		}
		statuses := record.ClaimStatuses(c.bootID)
		for i := range statuses {
			_ = c.to.ApplyClaimStatus(ctx, statuses[i].Part, &statuses[i])
		}
	}
}
