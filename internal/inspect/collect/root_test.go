//go:build linux

package collect

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// Below another root, a path of /var/run is where /run is mounted, unless it is mounted itself.
func TestAt(t *testing.T) {
	root := t.TempDir()
	for _, folder := range []string{"run/netns", "var/run/docker/netns", "var/lib/cni"} {
		check.Must(t, os.MkdirAll(filepath.Join(root, folder), 0o700))
	}
	below := Options{Root: root}
	for path, want := range map[string]string{
		"/run/netns/a":            "/run/netns/a",
		"/var/run/netns/a":        "/run/netns/a",
		"/var/run/docker/netns/a": "/var/run/docker/netns/a",
		"/run/docker/netns/a":     "/var/run/docker/netns/a",
		"/run/crio/ns/a":          "/run/crio/ns/a",
		"/var/lib/cni/plexus":     "/var/lib/cni/plexus",
		"/run/netns/../../x":      "/x",
		"/../../../etc":           "/etc",
	} {
		check.Equal(t, path, below.at(path), filepath.Join(root, want))
		check.Equal(t, path+" in its own place", (&Options{}).at(path), path)
	}
	check.Equal(t, "no path", below.at(""), "")
}

// A sandbox whose folder is not seen may live, as that of podman in /proc; one that is not in a folder
// that is seen does not, and nothing lives after a boot.
func TestLives(t *testing.T) {
	root := t.TempDir()
	check.Must(t, os.MkdirAll(filepath.Join(root, "run", "netns"), 0o700))
	below := Options{Root: root}
	for path, want := range map[string]bool{"/proc/1/ns/net": true, "/run/netns/gone": false, "/var/run/netns/gone": false} {
		check.Equal(t, path, below.lives(journal.Whereabouts{BootID: "b", NetNS: path}, "b"), want)
		check.Equal(t, path+", after a boot", below.lives(journal.Whereabouts{BootID: "a", NetNS: path}, "b"), false)
	}
}

// What is mounted nowhere below another root is not missing: it is not seen.
func TestHides(t *testing.T) {
	root := t.TempDir()
	check.Must(t, os.MkdirAll(filepath.Join(root, "etc", "cni"), 0o700))
	below := Options{Root: root}
	check.Equal(t, "a folder that is mounted", below.hides("/etc/cni"), false)
	check.Equal(t, "one that is not", below.hides("/etc/kubernetes"), true)
	check.Equal(t, "on the node itself", (&Options{}).hides("/no/such/folder"), false)
}

func TestUnseenIsNoFault(t *testing.T) {
	root := t.TempDir()
	for _, folder := range []string{"etc/cni/net.d", "var/lib/cni/plexus", "opt/cni/bin"} {
		check.Must(t, os.MkdirAll(filepath.Join(root, folder), 0o700))
	}
	c := &collector{options: Options{Root: root, ConfDir: "/etc/cni/net.d", StateDir: "/var/lib/cni/plexus/plexus", Sysfs: "/sys"}, snapshot: inspect.New()}
	c.snapshot.CNI = &inspect.CNI{}
	c.readCredentials("/etc/kubernetes/kubelet.conf")
	c.readStores(nil)
	check.Equal(t, "unseen", c.snapshot.CNI.Unseen, []string{"/etc/kubernetes/kubelet.conf", "/var/lib/cni/networks"})
	check.Equal(t, "credentials", c.snapshot.CNI.Credentials, nil)
	check.Equal(t, "notes", len(c.snapshot.Notes), 0)
}
