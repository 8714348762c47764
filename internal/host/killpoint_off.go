//go:build !killpoints

package host

// KillPoint marks a place where the process may end. A build with the tag killpoints can
// be told to end there, for the tests.
func KillPoint() {}
