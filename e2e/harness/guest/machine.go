package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is the guest of one run.
type machine struct {
	Options
	image string // folder of the kernel and the initramfs
	dir   string // of this run
}

// bootLimit is what a machine may take besides its tests.
const bootLimit = time.Minute

// kernelArgs are for speed: without them the emulated kernel takes twice as long to boot.
const kernelArgs = "console=ttyS0 panic=-1 quiet loglevel=4 nokaslr mitigations=off audit=0 lsm= rodata=off cryptomgr.notests " +
	"initcall_blacklist=init_encrypted,jent_mod_init,crypto_kdf108_init,bpf_dummy_struct_ops_init,bpf_tcp_ca_kfunc_init,load_system_certificate_list"

// run boots the machine and waits for its end, or ends it when its time is over.
func (m *machine) run(ctx context.Context) (*outcome, error) {
	limit := m.Timeout + bootLimit
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var stderr bytes.Buffer
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", m.args()...)
	qemu.Stderr = &stderr
	qemu.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	// The signal comes at the end of the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := qemu.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("start the guest: %w", err)
	}
	ended := &outcome{status: statusOf(qemu.ProcessState), console: tail(stderr.String()+m.read("console"), 80)}
	if ctx.Err() != nil {
		ended.killedAfter = limit
	}
	return ended, ended.readEvents(m.path("tests"))
}

// noStatus is the status of a guest that did not say one.
const noStatus = -1

// statusOf gives the status that the guest's init said: see there.
func statusOf(state *os.ProcessState) int {
	if code := state.ExitCode(); code > 128 && code%2 == 1 {
		return (code - 129) / 2
	}
	return noStatus
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) read(name string) string {
	data, err := os.ReadFile(m.path(name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// args is the machine's description.
func (m *machine) args() []string {
	args := []string{
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2", "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-kernel", filepath.Join(m.image, "vmlinux"), "-initrd", filepath.Join(m.image, "initramfs"), "-append", m.kernelArgs(),
		"-serial", "file:" + m.path("console"),
		// What the tests print, by a port that is quicker than a serial line.
		"-chardev", "file,id=tests,path=" + m.path("tests"), "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=tests",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
	}
	args = append(args, share("share", m.share())...)
	for _, variable := range m.Folders {
		args = append(args, share(variable, os.Getenv(variable))...)
	}
	for _, variable := range m.written() {
		args = append(args, writable(variable, os.Getenv(variable))...)
	}
	for n := range m.NICs {
		args = append(args, nic(n)...)
	}
	if m.IOMMU {
		args = append(args, "-device", "intel-iommu,intremap=on,caching-mode=on")
	}
	return append(args, m.QEMU...)
}

func (m *machine) kernelArgs() string {
	if m.IOMMU {
		return kernelArgs + " intel_iommu=on iommu=pt"
	}
	return kernelArgs
}

// share gives the guest a folder, read-only, by a tag.
func share(tag, folder string) []string { return writable(tag, folder+",readonly=on") }

// writable gives the guest a folder by a tag.
func writable(tag, folder string) []string {
	return []string{
		"-fsdev", fmt.Sprintf("local,id=%s,security_model=none,path=%s", tag, folder),
		"-device", fmt.Sprintf("virtio-9p-pci,fsdev=%[1]s,mount_tag=%[1]s", tag),
	}
}

// nic gives a NIC behind a root port of its own, as a slot of a server's, so that its bus
// is number n+1. All are on one wire.
func nic(n int) []string {
	return []string{
		"-device", fmt.Sprintf("pcie-root-port,id=port%d,slot=%d,chassis=%d,bus=pcie.0,addr=0x%x", n, n, n+1, 0x10+n),
		"-netdev", fmt.Sprintf("hubport,id=wire%d,hubid=0", n),
		"-device", fmt.Sprintf("igb,bus=port%[1]d,netdev=wire%[1]d,mac=52:54:00:aa:00:%02[2]x", n, n+1),
	}
}
