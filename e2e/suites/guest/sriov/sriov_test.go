package sriov

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// builtVar names the folder with a plexus-sriov that can be told to die, and with the tests of
// sriov/pf that need a VF.
const builtVar = "PLEXUS_SRIOV_BUILT"

// What a guest does is slow: it is emulated, and other tests run beside it.
const bootLimit = 15 * time.Minute

func TestE2EGuestSRIOV(t *testing.T) {
	t.Setenv(builtVar, built(t))
	guest.Run(t, guest.Options{Run: "^TestGuest(Plugin|Pod|SomeKills)", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", builtVar}, Writes: []string{window.SnapshotsVar}, NICs: 2, Timeout: bootLimit})
}

func TestE2EGuestSRIOVRounds(t *testing.T) {
	guest.Run(t, guest.Options{Run: "^TestGuestRounds", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, NICs: 1, Timeout: bootLimit})
}

func TestE2EGuestSRIOVAccidents(t *testing.T) {
	t.Setenv(builtVar, built(t))
	guest.Run(t, guest.Options{Run: "^TestGuest(Accident|Kill)", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", builtVar}, NICs: 1, Timeout: bootLimit})
}

// vfio-pci needs an IOMMU, with which a guest boots slower.
func TestE2EGuestSRIOVUserSpace(t *testing.T) {
	guest.Run(t, guest.Options{Run: "^TestGuestUserSpace", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, NICs: 1, IOMMU: true})
}

func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check.Must(t, os.Chmod(dir, 0o755))
	for _, args := range [][]string{
		{"build", "-tags", "killpoints", "-o", filepath.Join(dir, "plexus-sriov"), "./cmd/plexus-sriov"},
		{"test", "-c", "-tags", "guest", "-o", filepath.Join(dir, "pf.test"), "./sriov/pf"},
	} {
		build := exec.Command("go", args...)
		build.Dir = "../../../.." // of the other module
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}
	return dir
}
