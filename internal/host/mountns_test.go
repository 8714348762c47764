package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// procOf makes a folder like /proc, with the mount namespace and the root of each process.
func procOf(t *testing.T, processes ...string) string {
	t.Helper()
	proc := t.TempDir()
	for _, process := range processes {
		for _, dir := range []string{"ns", "root"} {
			check.Must(t, os.MkdirAll(filepath.Join(proc, process, dir), 0o700))
		}
		check.Must(t, os.WriteFile(filepath.Join(proc, process, "ns", "mnt"), nil, 0o600))
	}
	return proc
}

// A mount namespace that is not found is gone only if every process can be inspected.
func TestMountNSOfAll(t *testing.T) {
	proc := procOf(t, "1", "300", "self")
	all := mountNSOfAll(proc)
	check.Equal(t, "complete", all.complete, true)
	check.Equal(t, "mount namespaces", len(all.roots), 2)
	check.Must(t, os.Mkdir(filepath.Join(proc, "301"), 0o700)) // it has ended
	check.Must(t, os.Mkdir(filepath.Join(proc, "302"), 0o700)) // it is in that of 1, with another root
	check.Must(t, os.Symlink(filepath.Join(proc, "1", "ns"), filepath.Join(proc, "302", "ns")))
	check.Must(t, os.Mkdir(filepath.Join(proc, "302", "root"), 0o700))
	check.Must(t, os.Mkdir(filepath.Join(proc, "303"), 0o700)) // so is this, with the same root
	check.Must(t, os.Symlink(filepath.Join(proc, "1", "ns"), filepath.Join(proc, "303", "ns")))
	check.Must(t, os.Symlink(filepath.Join(proc, "1", "root"), filepath.Join(proc, "303", "root")))
	all = mountNSOfAll(proc)
	check.Equal(t, "complete beside one that has ended", all.complete, true)
	inode, err := mountNSOf(filepath.Join(proc, "1"))
	check.Must(t, err)
	check.Equal(t, "roots of 1, 302 and 303", len(all.roots[inode]), 2)
	check.Must(t, os.Mkdir(filepath.Join(proc, "304"), 0o700))
	check.Must(t, os.Symlink("ns", filepath.Join(proc, "304", "ns"))) // a loop: the kernel refuses
	check.Equal(t, "complete beside one that cannot be inspected", mountNSOfAll(proc).complete, false)
	check.Equal(t, "complete without a /proc", mountNSOfAll(t.TempDir()).complete, false)
}

// What another process sees is looked up from its root, links included.
func TestSeenBy(t *testing.T) {
	const path = "/var/run/netns/c1"
	proc := procOf(t, "1", "2")
	mountNS, err := mountNSOf(filepath.Join(proc, "1"))
	check.Must(t, err)
	id, _ := fileOf("/proc/self/ns/net")
	processes := map[rootDir]string{{1, 1}: filepath.Join(proc, "1")}
	check.Equal(t, "without the folder", seenBy(processes, mountNS, path, id), false)
	root := filepath.Join(proc, "1", "root")
	check.Must(t, os.MkdirAll(filepath.Join(root, "run", "netns"), 0o700))
	check.Must(t, os.Mkdir(filepath.Join(root, "var"), 0o700))
	check.Must(t, os.Symlink("/run", filepath.Join(root, "var", "run")))
	check.Equal(t, "without the file", seenBy(processes, mountNS, path, id), false)
	check.Equal(t, "of a process that has another mount namespace by now", seenBy(processes, mountNS+1, path, id), true)
	file := filepath.Join(root, "run", "netns", "c1")
	check.Must(t, os.WriteFile(file, nil, 0o600))
	check.Equal(t, "without the mount", seenBy(processes, mountNS, path, id), false)
	check.Must(t, os.Remove(file))
	check.Must(t, os.Symlink("c1", file)) // a loop
	check.Equal(t, "where it cannot be looked up", seenBy(processes, mountNS, path, id), true)
	check.Equal(t, "of a process that has ended", seenBy(map[rootDir]string{{}: filepath.Join(proc, "3")}, mountNS, path, id), true)
}

func TestNetNSHidden(t *testing.T) {
	dir := t.TempDir()
	const unused = 1 << 60
	for name, tc := range map[string]struct {
		path    string
		mountNS uint64
		want    bool
	}{
		"no path":                      {"", 0, false},
		"its folder is there":          {filepath.Join(dir, "c1"), 0, false},
		"its folder is missing":        {filepath.Join(dir, "none", "c1"), 0, true},
		"of a process":                 {"/proc/4194305/ns/net", 0, false},
		"seen here":                    {filepath.Join(dir, "c1"), MountNS(), false},
		"seen here, of a process":      {"/proc/4194305/ns/net", MountNS(), false},
		"seen here, without a folder":  {filepath.Join(dir, "none", "c1"), MountNS(), true},
		"seen elsewhere":               {filepath.Join(dir, "c1"), unused, !usedMountNS().complete},
		"seen elsewhere, of a process": {"/proc/4194305/ns/net", unused, !usedMountNS().complete},
		"seen elsewhere, no folder":    {filepath.Join(dir, "none", "c1"), unused, true},
	} {
		check.Equal(t, name, NetNSHidden(tc.path, NetNSID{}, tc.mountNS), tc.want)
	}
	if MountNS() == 0 {
		t.Error("the own mount namespace is not known")
	}
}
