//go:build !killpoints

package vf

// killPoint marks a place where the process may end; builds with the tag killpoints
// can be told to end there.
func killPoint() {}
