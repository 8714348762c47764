//go:build !killpoints

package vhostuser

// killPoint marks a place where the process may end; builds with the tag killpoints
// end there, for the tests.
func killPoint() {}
