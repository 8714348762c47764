package check

import (
	"math"
	"runtime"
)

// Allocated counts the bytes that do allocates: of its work, the part that is the same on
// every machine. It is the least of several times, since the collector may empty the pools of
// package fmt in between, which are then filled again.
func Allocated(do func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 4 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
