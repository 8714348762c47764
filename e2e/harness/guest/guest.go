// Package guest runs tests in a virtual machine, for what the kernel and the hardware of
// this machine cannot give: NICs with SR-IOV (QEMU's igb) and an IOMMU, and a full Debian
// kernel with ipvlan, VLANs, VRFs, dummy links and Open vSwitch. It is emulated, so it
// needs no KVM, and boots in seconds.
//
// A scenario is one package with two kinds of tests. Those named TestE2E… run on this
// machine and boot the guest, those named TestGuest… run in it, as root, with all of it
// to themselves:
//
//	func TestE2ESomething(t *testing.T) {
//		guest.Run(t, guest.Options{Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, NICs: 2})
//	}
//
//	func TestGuestSomething(t *testing.T) {
//		guest.Inside(t) // skips anywhere else
//		n := node.New(t)
//		n.Run("modprobe", "igb")
//		…
//	}
//
// Each test of the guest is reported as a subtest of the one that booted it. A guest that
// does not boot, dies, or runs no test fails it, with the end of what its console said.
//
// The guest has the present package's tests as one static executable (so testdata must be
// embedded), and the folders whose environment variables the options name, read-only and
// under the same variables. Everything else in it is memory, which ends with it. The file
// "build" has the tools that it is made with, the file "modules" its kernel's modules.
package guest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Options say what runs in the guest and what machine it is. The zero value runs the
// present package's tests TestGuest….
type Options struct {
	Tests   string   // the package of the tests; "." if empty
	Run     string   // which of its tests, as -run of go test has it; "^TestGuest" if empty
	Folders []string // environment variables that name folders of executables
	// Writes are environment variables that name folders into which the tests write, if they are set.
	Writes  []string
	Timeout time.Duration // of the tests together; 10 minutes if 0, and never more than this test has left

	NICs   int      // Intel 82576 (igb), on one wire: 0000:01:00.0, 0000:02:00.0, …; 7 VFs each
	IOMMU  bool     // for vfio-pci
	Memory int      // in MiB; 512 if 0
	QEMU   []string // further arguments
}

func (o Options) withDefaults() Options {
	if o.Tests == "" {
		o.Tests = "."
	}
	if o.Run == "" {
		o.Run = "^TestGuest"
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Memory == 0 {
		o.Memory = 512
	}
	return o
}

// Run boots a guest, runs the tests in it, and reports each as a subtest.
func Run(t *testing.T, o Options) {
	t.Helper()
	ended := boot(t, o)
	for _, r := range ended.results {
		r.report(t, "")
	}
	if err := ended.fault(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("of no test in particular:\n%s\nthe console:\n%s", ended.output, ended.console)
	}
}

// boot runs the tests in a guest.
func boot(t *testing.T, o Options) *outcome {
	t.Helper()
	for _, variable := range o.Folders {
		if os.Getenv(variable) == "" {
			t.Skipf("%s is not set: run this by make e2e, which builds what it names", variable)
		}
	}
	m := &machine{Options: o.withDefaults(), image: image(t)}
	defer m.alone(t)()
	if deadline, ok := t.Deadline(); ok {
		m.Timeout = min(m.Timeout, time.Until(deadline)-bootLimit-10*time.Second)
	}
	check.Must(t, m.fill())
	ended, err := m.run(t.Context())
	check.Must(t, err)
	return ended
}

// insideVar is set in a guest.
const insideVar = "PLEXUS_GUEST"

// Inside skips a test that is made for a guest anywhere else.
func Inside(t testing.TB) {
	t.Helper()
	if os.Getenv(insideVar) == "" {
		t.Skip("this runs in a guest, booted by the package's TestE2E tests")
	}
}

// AwaitFile waits for a file of a pattern and gives the first one: what the kernel makes of a
// device comes a little after it.
func AwaitFile(t testing.TB, pattern string) (path string) {
	t.Helper()
	check.Eventually(t, "a file "+pattern, time.Minute, func() bool {
		found, _ := filepath.Glob(pattern)
		if len(found) > 0 {
			path = found[0]
		}
		return len(found) > 0
	})
	return path
}
