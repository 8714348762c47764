package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// initVar hands a node's machine to its first process.
const initVar = "PLEXUS_E2E_NODE_INIT"

// machine is what a node has of a machine of its own. Its first process makes it, reaps
// orphans, and takes everything with it when it is killed, as a power cut does.
type machine struct {
	Hostname string
	Dir      string // the node's disk: what it has outlives a reboot
}

// IsNode tells whether this process was started to be a node's first one: then it has nothing to do
// but [BeNode].
func IsNode() bool { return os.Getenv(initVar) != "" }

// BeNode is the first process of a node. It gives the exit status.
func BeNode() int {
	var m machine
	err := json.Unmarshal([]byte(os.Getenv(initVar)), &m)
	if err == nil {
		err = m.make()
	}
	ready := os.NewFile(3, "ready")
	if err != nil {
		fmt.Fprint(ready, err)
		return 1
	}
	_ = ready.Close()
	reap()
	return 0
}

// reap waits for orphans, for ever.
func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for range children {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

func (m *machine) make() error {
	for _, step := range []func() error{m.privateMounts, m.mountProc, m.mountEtc, m.bindFolders, m.mountRun, m.maskSysctls, m.shareMounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte(m.Hostname))
}

func (m *machine) privateMounts() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }

func (m *machine) mountProc() error {
	return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// mountEtc puts the node's own files over the machine's: /etc/kubernetes, /etc/crio.
func (m *machine) mountEtc() error {
	upper, work := m.folder("etc"), m.folder("etc.work")
	if err := makeDirs(upper, work); err != nil {
		return err
	}
	return mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir="+upper+",workdir="+work)
}

// ownFolders are the machine's folders that a node has of its own. Debian's podman puts a network
// into /etc/cni.
var ownFolders = []string{"/var/lib", "/var/log", "/opt", "/etc/cni"}

// Hidden tells whether a path of this machine cannot be seen on a node: the node has something of its
// own in its place.
func Hidden(path string) bool {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	return slices.ContainsFunc(append([]string{"/run", "/proc"}, ownFolders...), func(own string) bool {
		return path == own || strings.HasPrefix(path, own+"/")
	})
}

func (m *machine) bindFolders() error {
	for _, path := range ownFolders {
		own := m.folder(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "-"))
		if err := makeDirs(own, path); err != nil {
			return err
		}
		if err := mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return makeDirs("/var/log/containers", "/var/log/pods", "/var/lib/cni", "/opt/cni/bin", "/etc/cni/net.d", "/etc/kubernetes")
}

// mountRun is emptied by a reboot.
func (m *machine) mountRun() error {
	if err := mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	return makeDirs("/run/netns", "/run/lock")
}

// sysctls are what the kubelet writes, for the whole machine. (The boot ID stays the machine's:
// containers mount /proc anew, so agents would see another one than plexus.)
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

func (m *machine) maskSysctls() error {
	for name, value := range sysctls {
		file := m.folder("sysctl-" + filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// shareMounts lets what containerd and the kubelet mount reach each other and containers.
func (m *machine) shareMounts() error { return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") }

func (m *machine) folder(name string) string { return filepath.Join(m.Dir, name) }

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %q at %s: %w", source, target, err)
	}
	return nil
}

func makeDirs(paths ...string) error {
	for _, path := range paths {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	return nil
}
