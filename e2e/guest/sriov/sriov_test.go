package sriov

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/guest"
)

// killableVar names the folder of a plexus-sriov that can be told to die.
const killableVar = "PLEXUS_SRIOV_KILLABLE"

// What a guest does is slow: it is emulated, and other tests run beside it.
const patience = 15 * time.Minute

func TestE2EGuestSRIOV(t *testing.T) {
	guest.Run(t, guest.Options{Run: "^TestGuest(Plugin|Pod|Rounds)", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, NICs: 2, Timeout: patience})
}

func TestE2EGuestSRIOVAccidents(t *testing.T) {
	t.Setenv(killableVar, killable(t))
	guest.Run(t, guest.Options{Run: "^TestGuest(Accident|Kill)", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", killableVar}, NICs: 1, Timeout: patience})
}

// vfio-pci needs an IOMMU, with which a guest boots slower.
func TestE2EGuestSRIOVUserSpace(t *testing.T) {
	guest.Run(t, guest.Options{Run: "^TestGuestUserSpace", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, NICs: 1, IOMMU: true})
}

func killable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	build := exec.Command("go", "build", "-tags", "killpoints", "-o", filepath.Join(dir, "plexus-sriov"), "./cmd/plexus-sriov")
	build.Dir = "../../.." // of the other module
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
