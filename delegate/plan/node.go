package plan

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
)

// Node is all that planning reads of a node. [LocalNode] is the machine that Plexus runs
// on; a plan for another node gets its files from elsewhere.
type Node interface {
	// Stat describes a file or a folder. Paths are absolute, here and below.
	Stat(path string) (fs.FileInfo, error)
	// ReadDir gives the entries of a folder.
	ReadDir(path string) ([]fs.DirEntry, error)
	// ReadFile gives the content of a file.
	ReadFile(path string) ([]byte, error)
	// CheckPlugin says why the node cannot run the plugin of a name, nil if it can.
	CheckPlugin(name string) error
}

// LocalNode is the machine that Plexus runs on.
type LocalNode struct {
	// Path are the folders that plugins are looked for in, in order.
	Path []string
	// Self is Plexus's own executable, which never runs itself; nil if it is unknown.
	Self fs.FileInfo
}

var _ Node = (*LocalNode)(nil)

// Stat is os.Stat.
func (*LocalNode) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

// ReadDir is os.ReadDir.
func (*LocalNode) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// ReadFile is os.ReadFile.
func (*LocalNode) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// Copying is how long an empty file may be one that is just being filled.
const Copying = 10 * time.Second

// CheckPlugin looks for the plugin in Path. It must be executable, where it is mounted, and
// another file than Plexus.
func (n *LocalNode) CheckPlugin(name string) error {
	path, err := invoke.FindInPath(name, n.Path)
	if err != nil {
		return MissingPlugin(name, n.Path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("plugin %q: %w", name, err)
	}
	file := Executable{
		Path: path, Self: n.isSelf(info), Runnable: info.Mode().Perm()&0o111 != 0,
		Empty: info.Size() == 0 && time.Since(info.ModTime()) > Copying,
	}
	if err := file.Check(name); err != nil {
		return err
	}
	if err := checkAccess(path); err != nil {
		return fmt.Errorf("plugin %q (%s) cannot be executed, perhaps because its file system is mounted noexec: %w", name, path, err)
	}
	return nil
}

// MissingPlugin is the error for a plugin that is in none of the folders.
func MissingPlugin(name string, path []string) error {
	return fmt.Errorf("plugin %q is not in %s", name, list(folders(path)))
}

// Executable is the file of a plugin, as it looks from outside.
type Executable struct {
	Path     string
	Self     bool // it is Plexus itself
	Runnable bool // its mode says so
	Empty    bool // and for longer than a copy takes
}

// Check says why the file cannot be run as the plugin of a name, nil if it can.
func (e Executable) Check(name string) error {
	switch {
	case e.Self:
		return fmt.Errorf("plugin %q (%s) is plexus itself, which cannot be its own delegate", name, e.Path)
	case !e.Runnable:
		return fmt.Errorf("plugin %q (%s) is not executable", name, e.Path)
	case e.Empty: // left by a full disk or a power cut
		return fmt.Errorf("plugin %q (%s) is an empty file", name, e.Path)
	}
	return nil
}

// folders gives each folder of a path once: binDir is usually in CNI_PATH too.
func folders(path []string) []string {
	var once []string
	for _, folder := range path {
		if folder = filepath.Clean(folder); !slices.Contains(once, folder) {
			once = append(once, folder)
		}
	}
	return once
}

// IsPlexus reports whether the plugin of a name is Plexus itself.
func (n *LocalNode) IsPlexus(name string) bool {
	if name == "plexus" {
		return true
	}
	path, err := invoke.FindInPath(name, n.Path)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && n.isSelf(info)
}

func (n *LocalNode) isSelf(info fs.FileInfo) bool { return n.Self != nil && os.SameFile(info, n.Self) }
