//go:build !linux

package plan

// checkAccess asks nobody: no plugin of a network runs on this system.
func checkAccess(string) error { return nil }
