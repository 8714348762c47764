package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/plexus-cni/plexus/types"
)

const (
	taintRetry   = time.Minute      // after a failure
	taintRecheck = 10 * time.Minute // a node that registers anew has its taint again
)

// untaint takes the taint off a node once it uses Plexus: until then no pod could start
// there without its networks.
type untaint struct {
	key    string // empty for none
	node   string
	remove func(ctx context.Context, node, key string) (removed bool, err error)
	now    func() time.Time
	log    *slog.Logger

	next time.Time // not before
}

func (u *untaint) update(ctx context.Context, state *types.NodeState) {
	// What nobody keeps in place counts as nothing: install --follow has to have said so.
	ready := state.NotReady == "" && state.Follower != nil && state.InUse()
	if u.key == "" || !ready || u.now().Before(u.next) {
		return
	}
	removed, err := u.remove(ctx, u.node, u.key)
	u.next = u.now().Add(taintRecheck)
	switch {
	case err != nil:
		u.next = u.now().Add(taintRetry)
		u.log.Warn("remove the taint of this node", "taint", u.key, "node", u.node, "error", err)
	case removed:
		u.log.Info("the node uses plexus; its taint is removed", "taint", u.key, "node", u.node)
	}
}
