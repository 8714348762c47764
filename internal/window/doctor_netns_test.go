//go:build linux

package window

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// doctorNode is a node with a healthy pod, and the runtime's folder.
type doctorNode struct {
	*nodetest.Node
	web     *nodetest.Sandbox
	confDir string
}

func newDoctorNode(t *testing.T) *doctorNode {
	t.Helper()
	n := &doctorNode{Node: nodetest.New(t)}
	n.confDir = n.Path("etc-cni")
	n.Uplink("up0")
	n.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
	n.Run("ip", "route", "add", "default", "via", "192.0.2.254")
	for _, plugin := range []string{"bridge", "host-local"} {
		check.Must(t, os.Symlink(filepath.Join(n.CNIBin, plugin), filepath.Join(n.PluginDir, plugin)))
	}
	check.Must(t, os.Symlink(filepath.Join(n.Bin, "plexus"), filepath.Join(n.PluginDir, "plexus")))
	bridge := nodetest.ClusterBridge()
	n.WriteFile(filepath.Join(n.confDir, "10-cbr0.conf"), bridge.String())
	n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nil).String())
	n.PodWith("web", "")
	n.web = n.Sandbox("web")
	n.Add(n.web, n.conf(nil)).OK()
	return n
}

func (n *doctorNode) conf(more nodetest.Conf) nodetest.Conf {
	return n.Conf(nodetest.Conf{"binDir": n.PluginDir, "delegates": nil, "clusterNetwork": filepath.Join(n.confDir, "10-cbr0.conf")}).With(more)
}

func (n *doctorNode) run(args ...string) (string, error) {
	args = append(args, "--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"), "--conf-dir", n.confDir, "--kubeconfig", os.DevNull)
	return n.Try(filepath.Join(n.Bin, program), args...)
}

// A healthy node has no fault, and its page says how it is.
func TestNetnsDoctorOfAHealthyNode(t *testing.T) {
	n := newDoctorNode(t)
	out, err := n.run("doctor")
	check.Must(t, err)
	check.Contains(t, "page", out, ": nothing is wrong\n", "00-plexus.conf (plexus): its name sorts before 10-cbr0.conf", "10-cbr0.conf (bridge, host-local)",
		"3 files in "+n.PluginDir+", plexus v", "1 record, 1 of sandboxes that may be there", "cbr0: 1 of 65533 from 10.1.0.1 to 10.1.255.254", "by up0, MTU 1500")
}

// Each trap of a node is found on a real one.
func TestNetnsDoctorOfTraps(t *testing.T) {
	n := newDoctorNode(t)
	for _, trap := range []struct {
		name      string
		set, undo func()
		want      []string
	}{
		{
			"another's file first", func() {
				n.WriteFile(filepath.Join(n.confDir, "00-a.conf"), `{"name": "a", "type": "bridge", "cniVersion": "1.0.0"}`)
			},
			func() { n.remove(t, "00-a.conf") },
			[]string{"ERROR plexus-shadowed", "00-a.conf, which sorts before 00-plexus.conf"},
		},
		{
			"a broken file first", func() { n.WriteFile(filepath.Join(n.confDir, "00-a.conf"), `{"name": "a"`) },
			func() { n.remove(t, "00-a.conf") },
			[]string{"ERROR cni-file-broken", "00-a.conf is broken: ", "containerd takes no configuration"},
		},
		{
			"Cilium renames ours", func() { n.rename(t, "00-plexus.conf", "00-plexus.conf.cilium_bak") },
			func() { n.rename(t, "00-plexus.conf.cilium_bak", "00-plexus.conf") },
			[]string{"ERROR plexus-renamed", "00-plexus.conf.cilium_bak"},
		},
		{
			"the default network is gone", func() { n.rename(t, "10-cbr0.conf", "10-cbr0.conf.old") },
			func() { n.rename(t, "10-cbr0.conf.old", "10-cbr0.conf") },
			[]string{"ERROR default-network-broken", "NOTICE cni-file-renamed", "the network cbr0"},
		},
		{"plexus is its own delegate", func() {
			n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nodetest.Conf{"clusterNetwork": filepath.Join(n.confDir, "00-plexus.conf")}).String())
		}, func() { n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nil).String()) }, []string{"ERROR self-delegation"}},
		{"a plugin is not there", func() { check.Must(t, os.Remove(filepath.Join(n.PluginDir, "host-local"))) }, func() {
			check.Must(t, os.Symlink(filepath.Join(n.CNIBin, "host-local"), filepath.Join(n.PluginDir, "host-local")))
		}, []string{"ERROR executable-missing", "the plugin host-local is not in " + n.PluginDir}},
		{"an address of nobody", func() {
			file := "/var/lib/cni/networks/cbr0/10.1.9.9"
			n.WriteFile(file, "gone-container\r\neth0")
			n.Do(func() error { return os.Chtimes(file, time.Now(), time.Now().Add(-time.Hour)) })
		}, func() { n.Run("rm", "/var/lib/cni/networks/cbr0/10.1.9.9") }, []string{"WARNING address-of-nobody", "`rm /var/lib/cni/networks/cbr0/10.1.9.9`"}},
		{"two default routes", func() {
			n.Run("ip", "route", "add", "192.0.2.99", "dev", "cbr0")
			n.Run("ip", "route", "append", "default", "via", "192.0.2.99", "dev", "cbr0")
		}, func() { n.Run("ip", "route", "del", "default", "dev", "cbr0") }, []string{"WARNING default-routes-tied", "by up0 and by cbr0"}},
		{"no agent", func() {
			n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nodetest.Conf{"manifests": nil, "agentSocket": "/run/plexus/agent.sock"}).String())
		}, func() { n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nil).String()) }, []string{"ERROR agent-silent", "/run/plexus/agent.sock"}},
		{
			"MTU of the uplink", func() { n.Run("ip", "link", "set", "up0", "mtu", "1400") },
			func() { n.Run("ip", "link", "set", "up0", "mtu", "1500") },
			[]string{"WARNING mtu-above-uplink", "by up0, whose MTU is 1400", "default/web (eth0)"},
		},
		{"a sandbox that is gone", func() { n.web.Destroy() }, func() {}, []string{"WARNING stale-record", "default/web (web)", "kubectl-plexus gc"}},
	} {
		trap.set()
		out, err := n.run("doctor")
		if err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%s: %v\n%s", trap.name, err, out)
		}
		check.Contains(t, trap.name, out, trap.want...)
		trap.undo()
	}
	out, err := n.Try(filepath.Join(n.Bin, program), "gc", "--config", filepath.Join(n.confDir, "00-plexus.conf"))
	if err != nil {
		t.Fatal(out, err)
	}
	out, err = n.run("doctor")
	if err != nil {
		t.Error(out, err)
	}
}

func (n *doctorNode) rename(t *testing.T, from, to string) {
	t.Helper()
	check.Must(t, os.Rename(filepath.Join(n.confDir, from), filepath.Join(n.confDir, to)))
}

func (n *doctorNode) remove(t *testing.T, file string) {
	t.Helper()
	check.Must(t, os.Remove(filepath.Join(n.confDir, file)))
}

// A saved snapshot gives the same page. Configurations are in it only if they were asked for, and no secret ever.
func TestNetnsDoctorOfASavedNode(t *testing.T) {
	n := newDoctorNode(t)
	n.WriteFile(filepath.Join(n.confDir, "20-secret.conf"), `{"name": "s", "type": "vpn", "cniVersion": "1.0.0", "psk": "sesame", "ipam": {"type": "static"}}`)
	kubeconfig := n.Path("kubeconfig")
	n.WriteFile(kubeconfig, "users: [{name: a, user: {token: sesame}}]\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n")
	n.WriteFile(filepath.Join(n.confDir, "00-plexus.conf"), n.conf(nodetest.Conf{"manifests": nil, "agentSocket": "/run/plexus/agent.sock", "kubeconfig": kubeconfig}).String())
	where := []string{"--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"), "--conf-dir", n.confDir}
	for _, more := range [][]string{nil, {"--with-config"}} {
		file := n.Path("node.json")
		out, err := n.Try(filepath.Join(n.Bin, program), append(append([]string{"snapshot", "--save", file}, where...), more...)...)
		if err != nil {
			t.Fatal(out, err)
		}
		text := n.ReadFile(file)
		if strings.Contains(text, "sesame") || strings.Contains(text, `"psk"`) != (more != nil) {
			t.Errorf("%v: secrets or configurations: %s", more, text)
		}
		out, err = n.Try(filepath.Join(n.Bin, program), "doctor", "--from", file)
		check.Error(t, err, "exit status 1")
		check.Contains(t, "page", out, "WARNING agent-silent", "token of "+kubeconfig)
	}
}
