//go:build guest

package device

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/sriov"
)

// Every VF of the machine is described whole. The scenario e2e/guest/sriov builds and runs this,
// in a guest that has some.
func TestGuestRead(t *testing.T) {
	vfs, err := filepath.Glob("/sys/bus/pci/devices/*/physfn")
	if err != nil || len(vfs) == 0 {
		t.Fatalf("no virtual function: %v", err)
	}
	for _, path := range vfs {
		id := filepath.Base(filepath.Dir(path))
		d, problem, err := Read(id)
		if err != nil || problem != nil {
			t.Fatalf("%s: %v, %v", id, problem, err)
		}
		t.Log(d)
		if d.Kind != sriov.KindVF || d.PF == nil || d.Index == nil || d.Settings == nil || d.Driver == "" {
			t.Errorf("%s: something is missing", id)
			continue
		}
		mac, err := os.ReadFile("/sys/class/net/" + d.Netdev + "/address")
		if err == nil && string(mac) != d.Settings.MAC+"\n" {
			t.Errorf("%s: the PF keeps %s, the interface %s has %s", id, d.Settings.MAC, d.Netdev, mac)
		}
	}
	if pf, _, err := Read(pfOf(t, vfs[0])); err != nil || pf.Kind != sriov.KindPF || pf.VFs.Now == 0 {
		t.Errorf("the PF: %v, %v", pf, err)
	}
}

func pfOf(t *testing.T, physfn string) string {
	t.Helper()
	target, err := os.Readlink(physfn)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(target)
}
