package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// TestE2EGuest shows what a scenario may count on.
func TestE2EGuest(t *testing.T) {
	t.Setenv("PLEXUS_GUEST_TEST_BIN", t.TempDir())
	check.Must(t, os.WriteFile(filepath.Join(os.Getenv("PLEXUS_GUEST_TEST_BIN"), "hello"), []byte("#!/bin/sh\necho hello\n"), 0o755))
	Run(t, Options{Folders: []string{"PLEXUS_GUEST_TEST_BIN"}, NICs: 2, IOMMU: true})
}

func TestGuestFolders(t *testing.T) {
	Inside(t)
	hello := filepath.Join(os.Getenv("PLEXUS_GUEST_TEST_BIN"), "hello")
	if out, err := exec.Command(hello).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("%s: %v, %q", hello, err, out)
	}
	if err := os.WriteFile(hello, nil, 0o755); err == nil {
		t.Errorf("%s can be written to", hello)
	}
}

// Kinds of links that a cloud's kernel may lack.
func TestGuestLinks(t *testing.T) {
	Inside(t)
	sh(t, "ip link add dummy9 type dummy && ip link set dummy9 up")
	for _, kind := range []string{"vlan id 5", "ipvlan mode l2", "macvlan mode bridge", "macvtap"} {
		t.Run(kind, func(t *testing.T) { sh(t, "ip link add link dummy9 name l9 type "+kind+" && ip link del l9") })
	}
	for _, kind := range []string{"vrf table 9", "vxlan id 9 dstport 4789", "ifb", "bond", "bridge"} {
		t.Run(kind, func(t *testing.T) { sh(t, "ip link add l9 type "+kind+" && ip link del l9") })
	}
}

func TestGuestPacketFilter(t *testing.T) {
	Inside(t)
	sh(t, "iptables -t nat -A POSTROUTING -m comment --comment guest -j MASQUERADE && iptables -t nat -F")
	sh(t, "nft add table inet guest && nft delete table inet guest")
	sh(t, "ipset create guest hash:ip && ipset destroy guest")
}

func TestGuestVirtualFunctions(t *testing.T) {
	Inside(t)
	sh(t, "modprobe igb && modprobe igbvf && modprobe vfio-pci")
	for _, pf := range []string{"0000:01:00.0", "0000:02:00.0"} {
		dir := "/sys/bus/pci/devices/" + pf
		AwaitFile(t, dir+"/net/*")
		check.Must(t, os.WriteFile(dir+"/sriov_numvfs", []byte("7"), 0o200))
		AwaitFile(t, dir+"/virtfn6/net/*")
	}
	// The IOMMU lets vfio-pci have one.
	vf, err := os.Readlink("/sys/bus/pci/devices/0000:01:00.0/virtfn0")
	check.Must(t, err)
	vf = filepath.Base(vf)
	check.Must(t, os.WriteFile("/sys/bus/pci/devices/"+vf+"/driver/unbind", []byte(vf), 0o200))
	check.Must(t, os.WriteFile("/sys/bus/pci/devices/"+vf+"/driver_override", []byte("vfio-pci"), 0o200))
	check.Must(t, os.WriteFile("/sys/bus/pci/drivers_probe", []byte(vf), 0o200))
	AwaitFile(t, "/sys/bus/pci/drivers/vfio-pci/"+vf)
	AwaitFile(t, "/dev/vfio/[0-9]*")
}

func sh(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// What comes of tests that do not pass is looked at without being reported: TestBadGuest….

func (o *outcome) summary() (lines []string) {
	anyOf(o.results, func(r *result) bool {
		if r.action != "pass" || strings.HasPrefix(r.name, "TestBadGuestPasses") {
			lines = append(lines, fmt.Sprintf("%s %q", r.name, r.action))
		}
		return false
	})
	return lines
}

func TestE2EGuestReports(t *testing.T) {
	ended := boot(t, Options{Run: "^TestBadGuest(Passes|Skips|Fails|Panics)$"})
	want := []string{
		`TestBadGuestPasses "pass"`, `TestBadGuestPasses/a/b "pass"`, `TestBadGuestSkips "skip"`,
		`TestBadGuestFails "fail"`, `TestBadGuestFails/sub "fail"`, `TestBadGuestPanics ""`,
	}
	if diff := cmp.Diff(want, ended.summary()); diff != "" {
		t.Errorf("the tests' results (- want, + got):\n%s", diff)
	}
	if err := ended.fault(); err != nil || ended.status != 2 {
		t.Errorf("status %d, fault %v", ended.status, err)
	}
	for _, said := range []string{"this fails", "panic: this panics"} {
		if !anyOf(ended.results, func(r *result) bool { return strings.Contains(r.output.String(), said) }) && !strings.Contains(ended.output, said) {
			t.Errorf("nothing says %q", said)
		}
	}
	if !strings.Contains(ended.console, "guest: the tests ended with status 2") {
		t.Errorf("console: %s", ended.console)
	}
}

func TestBadGuestPasses(t *testing.T) {
	Inside(t)
	t.Run("a/b", func(*testing.T) {})
}

func TestBadGuestSkips(t *testing.T) {
	Inside(t)
	t.Skip("this is skipped")
}

func TestBadGuestFails(t *testing.T) {
	Inside(t)
	t.Run("sub", func(t *testing.T) { t.Error("this fails") })
}

func TestBadGuestPanics(t *testing.T) {
	Inside(t)
	panic("this panics")
}

func TestE2EGuestThatDies(t *testing.T) {
	ended := boot(t, Options{Run: "^TestBadGuestDies$"})
	if err := ended.fault(); err == nil || ended.status != noStatus || ended.killedAfter != 0 {
		t.Errorf("status %d, killed after %v, fault %v", ended.status, ended.killedAfter, err)
	}
	if diff := cmp.Diff([]string{`TestBadGuestDies ""`}, ended.summary()); diff != "" {
		t.Errorf("the tests' results (- want, + got):\n%s", diff)
	}
}

func TestBadGuestDies(t *testing.T) {
	Inside(t)
	sh(t, "poweroff -f")
	select {}
}

func TestE2EGuestWithoutTests(t *testing.T) {
	ended := boot(t, Options{Run: "^TestGuestOfThisName$"})
	if err := ended.fault(); err == nil || ended.status != 0 || len(ended.results) != 0 {
		t.Errorf("status %d, fault %v", ended.status, err)
	}
}

func TestE2EGuestThatNeverBoots(t *testing.T) {
	m := &machine{Options: Options{Timeout: 2*time.Second - bootLimit, QEMU: []string{"-S"}}.withDefaults(), image: image(t), dir: t.TempDir()}
	check.Must(t, os.Mkdir(m.share(), 0o755))
	ended, err := m.run(t.Context())
	check.Must(t, err)
	if err := ended.fault(); err == nil || ended.killedAfter != 2*time.Second {
		t.Errorf("killed after %v, fault %v", ended.killedAfter, err)
	}
}

func TestE2EGuestThatCannotStart(t *testing.T) {
	m := &machine{Options: Options{QEMU: []string{"-no-such-option"}}.withDefaults(), image: image(t), dir: t.TempDir()}
	check.Must(t, os.Mkdir(m.share(), 0o755))
	ended, err := m.run(t.Context())
	check.Must(t, err)
	if err := ended.fault(); err == nil || !strings.Contains(ended.console, "-no-such-option") {
		t.Errorf("fault %v, console %s", err, ended.console)
	}
}

func TestE2EGuestNeedsTests(t *testing.T) {
	m := &machine{Options: Options{Tests: "../../suites/kubeclient/nothing"}.withDefaults(), dir: t.TempDir()}
	if err := m.fill(); err == nil {
		t.Error("no error for a package that is not there")
	}
}
