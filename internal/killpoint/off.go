//go:build !killpoints

// Package killpoint marks the places where a process may end, for tests that end it there.
package killpoint

// Here marks a place where the process may end; builds with the tag killpoints can be told to end
// there, by the environment variable of that name.
func Here(string) {}
