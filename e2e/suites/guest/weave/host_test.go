package weave

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// conflist is Weave's published 10-weave.conflist.
const conflist = `{
    "cniVersion": "0.3.0",
    "name": "weave",
    "plugins": [
        {
            "name": "weave",
            "type": "weave-net",
            "hairpinMode": true
        },
        {
            "type": "portmap",
            "capabilities": {"portMappings": true},
            "snat": true
        }
    ]
}
`

// host is one of two hosts: a node with Weave Net, and Plexus installed over it.
type host struct {
	*node.Node
	t       *testing.T
	number  int
	runtime *node.Runtime
	weaver  *exec.Cmd
}

// newHosts makes two hosts that are connected on eth0, with the addresses 10.77.0.11 and
// 10.77.0.12, and on eth1.
func newHosts(t *testing.T) [2]*host {
	t.Helper()
	var hosts [2]*host
	for i := range hosts {
		n := node.New(t)
		h := &host{Node: n, t: t, number: i + 1, runtime: n.Runtime(n.Path("cache"), n.Plugins("portmap", "macvlan", "host-local")...)}
		h.putPlugins()
		hosts[i] = h
	}
	other := hosts[1].netns()
	for _, name := range []string{"eth0", "eth1"} {
		hosts[0].Run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", other)
	}
	for _, h := range hosts {
		h.Run("ip", "addr", "add", h.address()+"/24", "dev", "eth0")
		h.Run("ip", "link", "set", "eth0", "up")
		h.Run("ip", "link", "set", "eth1", "up")
		h.WriteFile("/proc/sys/net/ipv4/ip_forward", "1")
		h.startWeaver()
	}
	for _, h := range hosts {
		h.awaitPeer()
		h.install()
	}
	return hosts
}

func (h *host) address() string { return fmt.Sprintf("10.77.0.1%d", h.number) }

func (h *host) peer() string { return fmt.Sprintf("10.77.0.1%d", 3-h.number) }

// netns gives a path of the host's network namespace.
func (h *host) netns() (path string) {
	h.t.Helper()
	h.Do(func() error {
		path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		return nil
	})
	return path
}

// putPlugins does what Weave's own installation does.
func (h *host) putPlugins() {
	h.t.Helper()
	weaveutil := node.Executable(h.t, "PLEXUS_WEAVE_BIN", "weaveutil")
	for _, name := range []string{"weave-net", "weave-ipam"} {
		check.Must(h.t, os.Symlink(weaveutil, filepath.Join(h.runtime.BinDir, name)))
	}
	h.WriteFile(filepath.Join(h.runtime.ConfDir, "10-weave.conflist"), conflist)
}

// startWeaver starts the daemon as pid 1 of its own, which is how it finds the host's
// namespaces. It is known by its folder: a second start there is a restart.
func (h *host) startWeaver() {
	h.t.Helper()
	dir := h.Path("weaver")
	check.Must(h.t, os.MkdirAll(dir, 0o755))
	log, err := os.OpenFile(h.weaverLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	check.Must(h.t, err)
	defer log.Close()
	args := []string{
		"--pid", "--fork", "--mount-proc", "--kill-child", node.Executable(h.t, "PLEXUS_WEAVE_BIN", "weaver"),
		"--port=6783", "--datapath=datapath", fmt.Sprintf("--name=00:00:00:00:00:0%d", h.number), fmt.Sprintf("--nickname=n%d", h.number),
		"--host-root=" + dir, "--db-prefix=" + filepath.Join(dir, "weave-net"), "--http-addr=127.0.0.1:6784", "--status-addr=127.0.0.1:6782",
		"--docker-api=", "--no-dns", "--mtu=1376", "--ipalloc-range=10.32.0.0/12", "--ipalloc-init", "consensus=2",
	}
	// One of them connects: where both do at once, weaver may keep the connection that its peer ends.
	if h.number == 2 {
		args = append(args, h.peer())
	}
	h.weaver = exec.Command("unshare", args...)
	h.weaver.Dir = dir
	h.weaver.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1")
	h.weaver.Stdout, h.weaver.Stderr = log, log
	h.weaver.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	h.Do(h.weaver.Start)
	h.t.Cleanup(h.stopWeaver)
}

func (h *host) weaverLog() string { return h.Path("weaver.log") }

// stopWeaver ends the daemon, and shows what it said if the test has failed.
func (h *host) stopWeaver() {
	if h.weaver == nil {
		return
	}
	_ = h.weaver.Process.Kill() // unshare, and with it the daemon
	_ = h.weaver.Wait()
	h.weaver = nil
	if log, err := os.ReadFile(h.weaverLog()); err == nil && h.t.Failed() {
		h.t.Logf("weaver of host %d:\n%s", h.number, log)
	}
}

// awaitPeer waits until the daemon has the other one, and with it a quorum.
func (h *host) awaitPeer() {
	h.t.Helper()
	check.Eventually(h.t, "weaver's connection to its peer", 2*time.Minute, func() error {
		status, err := h.get("127.0.0.1:6784", "/status")
		if err == nil && !strings.Contains(status, "1 established") {
			err = errors.New(status)
		}
		return err
	})
}

// get asks an HTTP server from the host's network.
func (h *host) get(server, path string) (string, error) {
	h.t.Helper()
	const patience = time.Minute
	var conn net.Conn
	var err error
	h.Do(func() error { // a transport would dial on another thread, in another network
		conn, err = net.DialTimeout("tcp4", server, patience)
		return nil
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	check.Must(h.t, conn.SetDeadline(time.Now().Add(patience)))
	request, err := http.NewRequest(http.MethodGet, "http://"+server+path, http.NoBody)
	check.Must(h.t, err)
	if err := request.Write(conn); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// owned gives the addresses that Weave's IPAM has given out, by container. That of the
// bridge itself stays for good.
func (h *host) owned() map[string][]string {
	h.t.Helper()
	var report struct {
		Owned []struct {
			ContainerID string
			Addrs       []string
		}
	}
	body, err := h.get("127.0.0.1:6784", "/ip")
	check.Must(h.t, err)
	check.Must(h.t, json.Unmarshal([]byte(body), &report))
	all := map[string][]string{}
	for _, o := range report.Owned {
		if o.ContainerID != "weave:expose" {
			all[o.ContainerID] = o.Addrs
		}
	}
	return all
}

// install runs the real command, as on a node without an agent.
func (h *host) install() {
	h.t.Helper()
	extra, err := json.Marshal(map[string]string{"manifests": h.Manifests, "confDir": h.ConfDir})
	check.Must(h.t, err)
	h.Run(filepath.Join(h.Bin, "plexus-agent"), "install", "--from", h.Bin, "--bin-dir", h.runtime.BinDir, "--conf-dir", h.runtime.ConfDir,
		"--cni-dir", h.CNIDir, "--network-name", "cluster", "--socket", "", "--timeout", "1m", "--extra-config", string(extra))
}

// pod is a sandbox with a port of the host.
type pod struct {
	*node.Sandbox
	host *host
}

func (h *host) pod(name, networks string) *pod {
	h.t.Helper()
	h.PodWith(name, networks)
	return &pod{Sandbox: h.Sandbox(name), host: h}
}

const hostPort, containerPort = 8080, 80

func (p *pod) runtimeConf() *libcni.RuntimeConf {
	conf := p.RuntimeConf("eth0")
	conf.CapabilityArgs = map[string]any{
		"portMappings": []map[string]any{{"hostPort": hostPort, "containerPort": containerPort, "protocol": "tcp"}},
	}
	return conf
}

// runtime gives the runtime of the pod's host, whose first configuration is of Plexus.
func (p *pod) runtime() *node.Runtime {
	r := p.host.runtime
	p.host.t.Helper()
	if first := r.List().Plugins[0].Network.Type; first != "plexus" {
		p.host.t.Fatalf("the runtime's first configuration is of %s", first)
	}
	return r
}

func (p *pod) add() (*current.Result, error) {
	p.host.t.Helper()
	return p.runtime().Add(p.runtimeConf())
}

func (p *pod) mustAdd() *current.Result {
	p.host.t.Helper()
	result, err := p.add()
	check.Must(p.host.t, err)
	return result
}

func (p *pod) check() error {
	p.host.t.Helper()
	return p.runtime().Check(p.runtimeConf())
}

func (p *pod) del() error {
	p.host.t.Helper()
	return p.runtime().Del(p.runtimeConf())
}

// record is the journal's.
func (p *pod) record() *types.Record {
	p.host.t.Helper()
	return p.host.Record(p.Sandbox)
}

// ping waits for an answer: the first packets to another host may be lost while Weave
// learns the way.
func (p *pod) ping(address string) {
	p.host.t.Helper()
	if out, err := p.Run("ping", "-n", "-c", "1", "-w", "60", address); err != nil {
		p.host.t.Errorf("ping %s from pod %s: %v\n%s", address, p.PodName, err, out)
	}
}
