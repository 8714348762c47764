package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// uninstall finds nothing to remove in a container, which must not look like a success.
func TestEnterHostRefusesTheContainer(t *testing.T) {
	for name, tc := range map[string]struct {
		theirs, ours string
		want         string
	}{
		"the host's":          {"mnt:[1]", "mnt:[2]", ""},
		"the container's own": {"mnt:[2]", "mnt:[2]", "hostPID"},
		"it cannot be read":   {"", "mnt:[2]", "must be privileged"},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			for path, to := range map[string]string{"1/ns/mnt": tc.theirs, "self/ns/mnt": tc.ours} {
				check.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(proc, path)), 0o755))
				if to != "" {
					check.Must(t, os.Symlink(to, filepath.Join(proc, path)))
				}
			}
			err := hostIsVisible(proc)
			if tc.want == "" {
				check.Must(t, err)
				return
			}
			check.Error(t, err, tc.want)
		})
	}
}

func TestEnterHostRefusesWhatIsNoNode(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, isNode(dir))
	check.Error(t, isNode(filepath.Join(dir, "net.d")), "there is no "+dir, "hostPID")
	check.Must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	check.Error(t, isNode(filepath.Join(dir, "file")), "is not the host's")
}
