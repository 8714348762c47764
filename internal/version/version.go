// Package version tells which build of Plexus an executable is. The Makefile
// sets its variables with -X when it links; a plain `go build` leaves the
// defaults. It imports nothing but runtime, because cmd/plexus links it and
// every package linked there is paid for on every pod.
package version

import "runtime"

var (
	// Version is the release, or the nearest one with the distance from it.
	Version = "v0.0.0-dev"
	// Commit is the git commit that was built.
	Commit = "unknown"
	// Date is the date of that commit, not of the build, so that one commit
	// always gives the same executable.
	Date = "unknown"
)

// String is what program prints when it is asked for its version.
func String(program string) string {
	return program + " " + Version + " (commit " + Commit + ", built " + Date + ", " + runtime.Version() + ")"
}
