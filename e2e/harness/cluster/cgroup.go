package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const cgroups = "/sys/fs/cgroup"

// makeCgroups makes a node's root in every hierarchy of control groups that a kubelet manages:
// it does not do so itself. path is without a leading slash.
func makeCgroups(path string) error {
	hierarchies, err := os.ReadDir(cgroups)
	if err != nil {
		return fmt.Errorf("find the control groups: %w", err)
	}
	for _, h := range hierarchies {
		if h.Name() == "unified" || !h.IsDir() {
			continue
		}
		for _, dir := range ancestors(path) {
			if err := makeCgroup(h.Name(), dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// ancestors gives "a", "a/b", … of "a/b/…".
func ancestors(path string) []string {
	var all []string
	for i, r := range path {
		if r == '/' {
			all = append(all, path[:i])
		}
	}
	return append(all, path)
}

func makeCgroup(hierarchy, path string) error {
	dir := filepath.Join(cgroups, hierarchy, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	if hierarchy != "cpuset" {
		return nil
	}
	// A new group of this hierarchy may use nothing.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), all, 0o600)
		}
		if err != nil {
			return fmt.Errorf("set up control group %s: %w", dir, err)
		}
	}
	return nil
}

// removeCgroups removes a control group with all below it, in every hierarchy. One that has
// processes cannot be removed: an error.
func removeCgroups(path string) error {
	roots, err := filepath.Glob(filepath.Join(cgroups, "*", path))
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // the deepest first
		for _, dir := range dirs {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// cgroupOf is the root of a node's control groups.
func cgroupOf(node string) string { return strings.Join([]string{runName(), node}, "/") }
