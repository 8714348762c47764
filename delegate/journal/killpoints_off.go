//go:build !killpoints

package journal

// killPoint marks a place where the process may end; builds with the tag killpoints
// end there, for the tests.
func killPoint() {}
