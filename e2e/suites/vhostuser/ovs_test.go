// Package vhostuser attaches pods to a real Open vSwitch with DPDK through plexus and
// plexus-vhostuser, and sends packets between real DPDK applications in them.
package vhostuser

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

const bridge = "br-dpdk0"

// unpacked gives the folder with Open vSwitch and DPDK, which are not installed.
var unpacked = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("./unpack")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// ovs is an Open vSwitch with DPDK, alone in the network and mount namespace of a node.
type ovs struct {
	t       *testing.T
	node    *node.Node
	root    string // of the unpacked packages
	run     string // its own folder
	daemons map[string]*exec.Cmd
}

// newOVS starts a switch with one bridge, without a NIC or hugepages. Its poll thread
// is on the first core.
func newOVS(t *testing.T, n *node.Node) *ovs {
	t.Helper()
	root, err := unpacked()
	if err != nil {
		t.Fatalf("unpack Open vSwitch with DPDK: %v", err)
	}
	// EAL wants its plugins where not everybody can write, and short paths for sockets.
	o := &ovs{t: t, node: n, root: root, run: n.Path("ovs"), daemons: map[string]*exec.Cmd{}}
	check.Must(t, os.MkdirAll(o.run, 0o700))
	o.tool("ovsdb-tool", "create", o.file("conf.db"), root+"/usr/share/openvswitch/vswitch.ovsschema")
	o.startDatabase()
	o.vsctl("--no-wait", "init")
	o.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", "other_config:dpdk-lcore-mask=0x1",
		"other_config:pmd-cpu-mask=0x1", "other_config:per-port-memory=true",
		`other_config:dpdk-extra="--no-pci --no-huge --legacy-mem -m 512 --file-prefix=ovs`+strconv.Itoa(os.Getpid())+" -d "+o.pmd("mempool_ring")+`"`)
	o.startSwitch()
	o.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("ovs-vswitchd said last:\n%s", tail(o.file("ovs-vswitchd-dpdk.log")))
		}
	})
	return o
}

func tail(path string) string {
	data, _ := os.ReadFile(path)
	return string(data[max(0, len(data)-4000):])
}

func (o *ovs) file(name string) string { return filepath.Join(o.run, name) }

func (o *ovs) address() string { return "unix:" + o.file("db.sock") }

// pmd gives the path of a plugin of DPDK.
func (o *ovs) pmd(name string) string {
	found, err := filepath.Glob(o.root + "/usr/lib/*/dpdk/pmds-*/librte_" + name + ".so.??")
	if err != nil || len(found) != 1 {
		o.t.Fatalf("DPDK's plugin %s: found %q, %v", name, found, err)
	}
	return found[0]
}

// environ makes the unpacked executables find their libraries and this switch.
func (o *ovs) environ() []string {
	libraries, err := filepath.Glob(o.root + "/usr/lib/*-linux-gnu*")
	check.Must(o.t, err)
	more, err := filepath.Glob(o.root + "/lib/*-linux-gnu*")
	check.Must(o.t, err)
	return append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libraries, more...), ":"),
		"OVS_RUNDIR="+o.run, "OVS_LOGDIR="+o.run, "OVS_DBDIR="+o.run, "OVS_SYSCONFDIR="+o.run,
		"OVS_PKGDATADIR="+o.root+"/usr/share/openvswitch")
}

func (o *ovs) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(o.bin(name), args...)
	cmd.Env = o.environ()
	return cmd
}

// bin gives the path of one of the unpacked executables.
func (o *ovs) bin(name string) string {
	o.t.Helper()
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib/openvswitch-switch-dpdk"} {
		if path := filepath.Join(o.root, dir, name); isFile(path) {
			return path
		}
	}
	o.t.Fatalf("%s is not among what was unpacked in %s", name, o.root)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// tool runs one of its tools and gives what it printed.
func (o *ovs) tool(name string, args ...string) string {
	o.t.Helper()
	cmd := o.command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	o.node.Do(func() error {
		if err := cmd.Run(); err != nil {
			o.t.Errorf("%s %q: %v: %s", name, args, err, &stderr)
			return err
		}
		return nil
	})
	return strings.TrimSpace(stdout.String())
}

func (o *ovs) vsctl(args ...string) string {
	o.t.Helper()
	return o.tool("ovs-vsctl", append([]string{"--timeout=20", "--db=" + o.address()}, args...)...)
}

func (o *ovs) startDatabase() {
	o.t.Helper()
	o.start("ovsdb-server", o.file("conf.db"), "--remote=p"+o.address(), "--unixctl="+o.file("ovsdb.ctl"))
}

func (o *ovs) startSwitch() {
	o.t.Helper()
	o.start("ovs-vswitchd-dpdk", o.address(), "--unixctl="+o.file("vswitchd.ctl"))
}

// start starts a daemon, which says by itself that it is ready: it then leaves the
// process that was started and goes on as another, whose number it has written.
func (o *ovs) start(name string, args ...string) {
	o.t.Helper()
	pidFile := o.file(name + ".pid")
	o.tool(name, append(args, "--detach", "--no-chdir", "--pidfile="+pidFile, "--log-file="+o.file(name+".log"), "-vconsole:off")...)
	o.t.Cleanup(func() { o.kill(name) })
}

func (o *ovs) pid(name string) int {
	data, err := os.ReadFile(o.file(name + ".pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	check.Must(o.t, err)
	return pid
}

// kill ends a daemon that this switch has started, and waits for its end.
func (o *ovs) kill(name string) {
	pid := o.pid(name)
	if pid == 0 {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	_ = os.Remove(o.file(name + ".pid"))
}

// stopDatabase ends the database: nobody reaches the switch any more.
func (o *ovs) stopDatabase() {
	o.t.Helper()
	o.kill("ovsdb-server")
	_ = os.Remove(o.file("db.sock"))
}

// ports gives the names of the bridge's ports, without its own.
func (o *ovs) ports() []string {
	o.t.Helper()
	return strings.Fields(o.vsctl("list-ports", bridge))
}

// portOf gives the port of a container's interface.
func (o *ovs) portOf(container, ifName string) string {
	o.t.Helper()
	return o.vsctl("--bare", "--columns=name", "find", "Port", "external_ids:plexus-container="+container, "external_ids:plexus-interface="+ifName)
}

// counters gives what the switch has received from a port and sent to it, as it is now.
func (o *ovs) counters(port string) (received, sent int) {
	o.t.Helper()
	// "rx pkts=1, bytes=2, …" and, on the next line, "tx pkts=3, …"
	said := o.tool("ovs-ofctl", "dump-ports", "unix:"+o.file(bridge+".mgmt"), port)
	for _, line := range strings.Split(said, "\n") {
		direction, rest, found := strings.Cut(line, " pkts=")
		count, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, ",", 2)[0]))
		switch {
		case !found || err != nil:
		case strings.HasSuffix(strings.TrimSpace(direction), "rx"):
			received = count
		case strings.HasSuffix(strings.TrimSpace(direction), "tx"):
			sent = count
		}
	}
	return received, sent
}
