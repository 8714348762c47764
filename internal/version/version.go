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
	// Stamp is Version between marks, by which it is found in an executable that is not run.
	// A plain `go build` has none.
	Stamp string
)

// StampMark begins a Stamp. A semicolon ends it.
const StampMark = "plexus-cni.io/version="

// String is what program prints when it is asked for its version.
func String(program string) string {
	runtime.KeepAlive(Stamp) // the linker leaves out what nobody reads
	return program + " " + Version + " (commit " + Commit + ", built " + Date + ", " + runtime.Version() + ")"
}
