package drops

import (
	"maps"
	"slices"
)

// Explained gives the names of the reasons that have a text of their own.
func Explained() []string { return slices.Collect(maps.Keys(reasons)) }
