//go:build guest

package pf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/sriov"
)

// Sysfs and the PF describe every VF of the machine in full. The scenario e2e/suites/guest/sriov
// builds this test and runs it in a guest that has VFs.
func TestGuestRead(t *testing.T) {
	links, err := filepath.Glob("/sys/bus/pci/devices/*/physfn")
	if err != nil || len(links) == 0 {
		t.Fatalf("no virtual function: %v", err)
	}
	for _, link := range links {
		checkVF(t, filepath.Base(filepath.Dir(link)))
	}
	target, err := os.Readlink(links[0])
	if err != nil {
		t.Fatal(err)
	}
	if pf, err := sriov.DefaultSysfs.Device(filepath.Base(target)); err != nil || pf.Kind != sriov.KindPF || pf.VFs.Now == 0 {
		t.Errorf("the PF: %v, %v", pf, err)
	}
}

// checkVF demands that nothing is missing of a VF, and that its interface has the MAC that the PF
// keeps.
func checkVF(t *testing.T, id string) {
	t.Helper()
	d, err := sriov.DefaultSysfs.Device(id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind != sriov.KindVF || d.PF == nil || d.Index == nil || d.Driver == "" {
		t.Errorf("%s: sysfs says too little: %v", id, d)
		return
	}
	settings, err := Read(d.PF.Netdev, *d.Index)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v, settings %+v", d, *settings)
	mac, err := os.ReadFile("/sys/class/net/" + d.Netdev + "/address")
	if err == nil && string(mac) != settings.MAC+"\n" {
		t.Errorf("%s: the PF keeps %s, the interface %s has %s", id, settings.MAC, d.Netdev, mac)
	}
}
