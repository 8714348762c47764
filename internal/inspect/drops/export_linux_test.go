package drops

import (
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Spent gives how long the program ran, and how often.
func (r *Reader) Spent(t testing.TB) (time.Duration, uint64) {
	t.Helper()
	stats, err := r.program.Stats()
	check.Must(t, err)
	return stats.Runtime, stats.RunCount
}
