package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// image gives the folder of the guest's kernel and initramfs, which it builds if need be.
func image(t testing.TB) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest is of the architecture amd64, and runs executables of this machine's")
	}
	gomod, err := output("go", "env", "GOMOD")
	check.Must(t, err)
	dir, err := output(filepath.Join(filepath.Dir(gomod), "harness", "guest", "build"))
	check.Must(t, err)
	return dir
}

// output runs a program and gives what it printed; what it said on standard error is
// passed on, and in the error.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, &said)
	}
	return strings.TrimSpace(string(out)), nil
}

func (m *machine) share() string { return filepath.Join(m.dir, "share") }

// fill puts the tests and what runs them into the share.
func (m *machine) fill() error {
	if err := os.Mkdir(m.share(), 0o755); err != nil {
		return err
	}
	tests := filepath.Join(m.share(), "tests")
	build := exec.Command("go", "test", "-c", "-o", tests, m.Tests)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %s: %w\n%s", m.Tests, err, out)
	}
	if _, err := os.Stat(tests); err != nil {
		return fmt.Errorf("build the tests of %s: there are none", m.Tests)
	}
	return os.WriteFile(filepath.Join(m.share(), "run"), []byte(m.script()), 0o755)
}

// script is what the guest's init runs: it takes the folders, and becomes the tests.
func (m *machine) script() string {
	var text strings.Builder
	fmt.Fprintf(&text, "#!/bin/sh\nset -e\nexport %s=1 HOME=/root\n", insideVar)
	for _, variable := range m.Folders {
		fmt.Fprintf(&text, "mkdir -p /mnt/%[1]s\n"+
			"mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro %[1]s /mnt/%[1]s\n"+
			"export %[1]s=/mnt/%[1]s\n", variable)
	}
	for _, variable := range m.written() {
		fmt.Fprintf(&text, "mkdir -p /mnt/%[1]s\nmount -t 9p -o trans=virtio,version=9p2000.L %[1]s /mnt/%[1]s\nexport %[1]s=/mnt/%[1]s\n", variable)
	}
	fmt.Fprintf(&text, "cd /tmp\nexec /share/tests -test.v=test2json -test.timeout=%s -test.run='%s'\n", m.Timeout, m.Run)
	return text.String()
}

// written gives the variables of the folders that the guest may write into.
func (m *machine) written() []string {
	return slices.DeleteFunc(slices.Clone(m.Writes), func(variable string) bool { return os.Getenv(variable) == "" })
}

// alone waits until no other guest runs on this machine, since two would only slow each
// other down, and gives the run its folder. What it returns lets the next one run.
func (m *machine) alone(t testing.TB) (release func()) {
	t.Helper()
	cache := filepath.Dir(m.image)
	lock, err := os.OpenFile(filepath.Join(cache, "guest-run.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	check.Must(t, err)
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		t.Logf("waiting for another guest, which has %s", lock.Name())
		check.Must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	}
	m.dir = filepath.Join(cache, "guest-run")
	check.Must(t, os.RemoveAll(m.dir)) // what a killed test left: we hold the lock
	check.Must(t, os.Mkdir(m.dir, 0o755))
	return func() {
		_ = os.RemoveAll(m.dir)
		_ = lock.Close()
	}
}
