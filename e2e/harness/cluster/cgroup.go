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

// controllers are those that a kubelet wants of control groups v2, as far as the kernel has them.
var controllers = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}

// unified tells whether the machine has control groups v2 alone: one hierarchy for all controllers.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers"))
	return err == nil
}

// makeCgroups makes a node's root in every hierarchy of control groups that a kubelet manages:
// it does not do so itself. path is without a leading slash.
func makeCgroups(path string) error {
	if unified() {
		return makeUnified(cgroups, path)
	}
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

// makeUnified makes a control group of v2. A group has the controllers that the one above passes on.
func makeUnified(root, path string) error {
	above := root
	for _, dir := range ancestors(path) {
		if err := passOn(above); err != nil {
			return fmt.Errorf("pass controllers on from control group %s: %w", above, err)
		}
		above = filepath.Join(root, dir)
		if err := os.MkdirAll(above, 0o755); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
	}
	return nil
}

// passOn lets the groups below one have its controllers.
func passOn(group string) error {
	has, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var wanted []string
	for _, controller := range strings.Fields(string(has)) {
		if slices.Contains(controllers, controller) {
			wanted = append(wanted, "+"+controller)
		}
	}
	return os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte(strings.Join(wanted, " ")), 0o600)
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
	roots := rootsOf(path)
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

// rootsOf gives the control groups of a path, which may be a pattern: one in each hierarchy, or that of v2.
func rootsOf(path string) []string {
	above := filepath.Join(cgroups, "*")
	if unified() {
		above = cgroups
	}
	found, _ := filepath.Glob(filepath.Join(above, path))
	return found
}

// cgroupOf is the root of a node's control groups.
func cgroupOf(node string) string { return strings.Join([]string{runName(), node}, "/") }
