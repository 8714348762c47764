package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMountRootIn(t *testing.T) {
	const table = `21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 21 8:1 /etc/cni/net.d /host/etc/cni/net.d rw - ext4 /dev/sda1 rw
31 21 8:1 /opt/cni/bin//deleted /host/opt/cni/bin rw - ext4 /dev/sda1 rw
32 21 8:1 /first /twice rw - ext4 /dev/sda1 rw
33 21 8:1 /second /twice rw - ext4 /dev/sda1 rw
34 21 8:1 /a\040b /host/a\040b rw - ext4 /dev/sda1 rw
broken
`
	for path, want := range map[string]string{
		"/host/etc/cni/net.d":   "/etc/cni/net.d",
		"/host/etc/cni/net.d/x": "/etc/cni/net.d",
		"/host/etc/cni/net.d2":  "/",
		"/host/opt/cni/bin":     "/opt/cni/bin//deleted",
		"/twice":                "/second",
		"/host/a b/c":           `/a\040b`,
		"/":                     "/",
	} {
		if got := mountRootIn(table, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestMountedByName: the folder above is there by its own path too, which leads elsewhere
// when a link is turned, and when the folder is moved or removed.
func TestMountedByName(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v1, current := filepath.Join(dir, "v1"), filepath.Join(dir, "current")
	if err := os.Symlink("v1", current); err != nil {
		t.Fatal(err)
	}
	m, elsewhere := NewMounted(v1, current), NewMounted(v1, filepath.Join(dir, "v2"))
	if err := errors.Join(m.Check(), elsewhere.Check()); err != nil {
		t.Errorf("before anything has changed: %v", err)
	}
	if err := errors.Join(os.Remove(current), os.Symlink("v2", current)); err != nil {
		t.Fatal(err)
	}
	if err := m.Check(); !errors.Is(err, ErrMoved) {
		t.Errorf("the link was turned: %v", err)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if err := m.Check(); !errors.Is(err, ErrMoved) {
		t.Errorf("the name is gone: %v", err)
	}
	if err := elsewhere.Check(); err != nil {
		t.Errorf("a path of the host that was another folder here from the start: %v", err)
	}
}
