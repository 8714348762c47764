package install_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/internal/install"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// programVar makes this test's executable install or uninstall, as plexus-agent does:
// an install in a container runs in a process that has no capability.
const programVar = "PLEXUS_INSTALL_TEST_PROGRAM"

type program struct {
	Install   *install.Options
	Uninstall *install.UninstallOptions
}

func TestMain(m *testing.M) {
	if text := os.Getenv(programVar); text != "" {
		os.Exit(runProgram(text))
	}
	os.Exit(m.Run())
}

func runProgram(text string) int {
	var p program
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func (p *program) run() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if p.Uninstall != nil {
		u, err := install.NewUninstaller(*p.Uninstall, log)
		if err != nil {
			return err
		}
		return u.Uninstall(context.Background())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if !strings.Contains(string(status), "CapEff:\t0000000000000000\n") || os.Geteuid() != 0 {
		return errors.New("this is to be run by root without any capability")
	}
	i, err := install.New(*p.Install, log)
	if err != nil {
		return err
	}
	return i.Install(context.Background())
}

// host is a node that has a default network, and no Plexus yet.
type host struct {
	*node.Node
	t       *testing.T
	runtime *node.Runtime
}

func newHost(t *testing.T) *host {
	n := node.New(t)
	h := &host{Node: n, t: t, runtime: n.Runtime("/var/lib/cni", n.Plugins("bridge", "host-local", "portmap")...)}
	master := node.List("cbr0", "1.0.0", node.ClusterBridge(), node.Conf{"type": "portmap", "capabilities": node.Conf{"portMappings": true}})
	h.WriteFile(filepath.Join(h.runtime.ConfDir, "10-cbr0.conflist"), master.String())
	h.WriteFile(filepath.Join(h.runtime.ConfDir, "00-multus.conf.off"), "not a configuration")
	return h
}

// run runs this executable as a program, by a wrapper if there is one.
func (h *host) run(p program, wrapper ...string) (string, error) {
	h.t.Helper()
	text, err := json.Marshal(p)
	check.Must(h.t, err)
	self, err := os.Executable()
	check.Must(h.t, err)
	args := append([]string{programVar + "=" + string(text)}, append(wrapper, self)...)
	return h.Try("env", args...)
}

func (h *host) options() install.Options {
	return install.Options{
		From: h.Bin, BinDir: h.runtime.BinDir, ConfDir: h.runtime.ConfDir, ConfName: install.DefaultConfName,
		NetworkName: "plexus", CNIDir: h.CNIDir,
		Extra: map[string]json.RawMessage{"manifests": quote(h.Manifests), "confDir": quote(h.ConfDir)},
	}
}

func quote(text string) json.RawMessage { return json.RawMessage(fmt.Sprintf("%q", text)) }

// install runs as the container of the DaemonSet: by root, with every capability dropped.
func (h *host) install() (string, error) {
	h.t.Helper()
	options := h.options()
	return h.run(program{Install: &options}, dropAll...)
}

// dropAll runs a command as root without any capability.
var dropAll = []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"}

func (h *host) mustInstall() {
	h.t.Helper()
	if out, err := h.install(); err != nil {
		h.t.Fatalf("install: %v\n%s", err, out)
	}
}

func (h *host) uninstall(release bool) (string, error) {
	h.t.Helper()
	return h.run(program{Uninstall: &install.UninstallOptions{
		From: h.Bin, BinDir: h.runtime.BinDir, ConfDir: h.runtime.ConfDir, ConfName: install.DefaultConfName, Release: release,
	}})
}

func runtimeConf(s *node.Sandbox) *libcni.RuntimeConf {
	conf := s.RuntimeConf("eth0")
	conf.CapabilityArgs = map[string]any{"portMappings": []map[string]any{}}
	return conf
}

// add attaches a sandbox whose pod asks for one more network.
func (h *host) add(id string) *node.Sandbox {
	h.t.Helper()
	h.PodWith(id, "second")
	s := h.Sandbox(id)
	_, err := h.runtime.Add(runtimeConf(s))
	check.Must(h.t, err)
	check.Equal(h.t, "interfaces", s.InterfaceNames(), []string{"eth0", "net0"})
	return s
}

// tree gives the content, or the target, and the mode of every file in the folders that
// an install changes.
func (h *host) tree() map[string]string {
	h.t.Helper()
	return check.Tree(h.t, h.runtime.ConfDir, h.runtime.BinDir)
}

func TestNetnsInstallAndUninstall(t *testing.T) {
	h := newHost(t)
	h.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	was := h.tree()
	h.mustInstall()
	s := h.add("c1")
	check.Must(t, s.Ping("10.1.0.1"))
	there := h.tree()
	out, err := h.uninstall(false)
	if err == nil || !strings.Contains(out, "sandbox c1 (pod default/c1): drain the node") {
		t.Errorf("uninstall while c1 lives: error %v\n%s", err, out)
	}
	check.Equal(t, "files after a refusal", h.tree(), there)
	check.Must(t, h.runtime.Del(runtimeConf(s)))
	if out, err := h.uninstall(false); err != nil {
		t.Fatalf("uninstall: %v\n%s", err, out)
	}
	check.Equal(t, "files", h.tree(), was)
	check.Equal(t, "interfaces", s.InterfaceNames(), []string{})
	h.MustBeClean()
}

func TestNetnsUninstallReleases(t *testing.T) {
	h := newHost(t)
	h.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	was := h.tree()
	h.mustInstall()
	alive, gone := h.add("c1"), h.add("c2")
	gone.Destroy()
	if out, err := h.uninstall(true); err != nil {
		t.Fatalf("uninstall --release: %v\n%s", err, out)
	}
	check.Equal(t, "files", h.tree(), was)
	check.Equal(t, "interfaces", alive.InterfaceNames(), []string{})
	check.Equal(t, "reservations", h.Reservations(), map[string][]string{})
	if _, err := os.Stat(h.CNIDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of the state is left: %v", err)
	}
}

// A power cut after the install finds every file whole: its content and its name are on
// the disk, and the executables before the configuration that leads to them.
func TestNetnsInstallIsOnDisk(t *testing.T) {
	h := newHost(t)
	trace := node.NewTrace(t)
	options := h.options()
	// strace may follow a process that drops its capabilities, not one that lacks them.
	wrapper := append(trace.Wrapper(), dropAll...)
	if out, err := h.run(program{Install: &options}, wrapper...); err != nil {
		t.Fatalf("install: %v\n%s", err, out)
	}
	conf := filepath.Join(h.runtime.ConfDir, install.DefaultConfName)
	for _, name := range []string{"plexus", "plexus-once"} {
		path := filepath.Join(h.runtime.BinDir, name)
		trace.MustFollow("sync "+tempOf(path), "rename "+tempOf(path)+" "+path, "sync "+h.runtime.BinDir,
			"sync "+tempOf(conf), "rename "+tempOf(conf)+" "+conf, "sync "+h.runtime.ConfDir)
	}
}

// tempOf gives the name under which install writes a file.
func tempOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".plexus-tmp")
}

// TestNetnsUninstallReleasesTheDead: a node whose pods have all gone without a DEL.
func TestNetnsUninstallReleasesTheDead(t *testing.T) {
	h := newHost(t)
	h.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	h.mustInstall()
	h.add("c1").Destroy()
	if out, err := h.uninstall(false); err != nil {
		t.Fatalf("uninstall: %v\n%s", err, out)
	}
	check.Equal(t, "reservations", h.Reservations(), map[string][]string{})
}

// TestNetnsInstallWhereRootMayNotWrite: some distributions give the folder of the
// plugins to another user, and root without capabilities is nobody special.
func TestNetnsInstallWhereRootMayNotWrite(t *testing.T) {
	h := newHost(t)
	check.Must(t, os.Chown(h.runtime.BinDir, 1001, 0))
	was := h.tree()
	out, err := h.install()
	if err == nil || !strings.Contains(out, h.runtime.BinDir+" belongs to user 1001: give it to user 0 (chown), or give this container the capability DAC_OVERRIDE") {
		t.Errorf("error %v\n%s", err, out)
	}
	check.Equal(t, "files", h.tree(), was)
}
