package install

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestInstall(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	check.Must(t, n.installer().Install(context.Background()))
	check.Equal(t, "files", n.files(), []string{
		"bin/bridge", "bin/host-local", "bin/plexus", "bin/plexus-once", "bin/portmap", "net.d/00-plexus.conflist", "net.d/10-a.conflist",
	})
	for _, tc := range []struct {
		path string
		mode os.FileMode
	}{{n.bin("plexus"), 0o755}, {n.bin("plexus-once"), 0o755}, {n.ours(), 0o600}} {
		info, err := os.Stat(tc.path)
		check.Must(t, err)
		check.Equal(t, "mode of "+tc.path, info.Mode(), tc.mode)
	}
	check.Equal(t, "plexus", read(t, n.bin("plexus")), read(t, n.options.From+"/plexus"))
	check.Contains(t, "configuration", read(t, n.ours()), n.confPath("10-a.conflist"))
}

// TestInstallDevicePlugins: what --from has of them is installed, and taken off again.
func TestInstallDevicePlugins(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	before := n.files()
	n.executable(filepath.Join(n.options.From, "plexus-sriov"), "echo plexus-sriov v1")
	check.Must(t, n.installer().Install(context.Background()))
	check.Equal(t, "plexus-sriov", read(t, n.bin("plexus-sriov")), read(t, n.options.From+"/plexus-sriov"))
	if _, err := os.Stat(n.bin("plexus-vhostuser")); err == nil {
		t.Error("plexus-vhostuser is installed, which --from does not have")
	}
	check.Must(t, os.Remove(filepath.Join(n.options.From, "plexus-sriov"))) // known by what it says, too
	check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
	check.Equal(t, "files", n.files(), before)
}

// TestInstallAgain: what is up to date is not touched, what is not is.
func TestInstallAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(n *testNode)
		changed []string
	}{
		{"nothing", func(*testNode) {}, []string{}},
		{"a new plexus", func(n *testNode) { n.executable(n.options.From+"/plexus", "echo plexus v2") }, []string{"plexus"}},
		{"a mode", func(n *testNode) { check.Must(n.t, os.Chmod(n.bin("plexus-once"), 0o700)) }, []string{"plexus-once"}},
		{"the mode of the configuration", func(n *testNode) { check.Must(n.t, os.Chmod(n.ours(), 0o644)) }, []string{"00-plexus.conflist"}},
		{"a flag", func(n *testNode) { n.options.PluginLogLevel = "debug" }, []string{"00-plexus.conflist"}},
		{"the default network", func(n *testNode) { n.conf("05-b.conf", single) }, []string{"00-plexus.conflist"}},
		{"its content, which plexus follows itself", func(n *testNode) {
			n.conf("10-a.conflist", `{"name":"other","plugins":[{"type":"bridge"},{"type":"portmap","capabilities":{"portMappings":true}}]}`)
		}, []string{}},
		{"its capabilities", func(n *testNode) { n.conf("10-a.conflist", `{"name":"other","plugins":[{"type":"bridge"}]}`) }, []string{"00-plexus.conflist"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			check.Must(t, n.installer().Install(context.Background()))
			tc.change(n)
			inodes := n.inodes()
			check.Must(t, n.installer().Install(context.Background()))
			changed := []string{}
			for _, name := range []string{"plexus", "plexus-once", "00-plexus.conflist"} {
				if n.inodes()[name] != inodes[name] {
					changed = append(changed, name)
				}
			}
			check.Equal(t, "what was written", changed, tc.changed)
		})
	}
}

func (n *testNode) inodes() map[string]uint64 {
	n.t.Helper()
	all := map[string]uint64{}
	for name, path := range map[string]string{"plexus": n.bin("plexus"), "plexus-once": n.bin("plexus-once"), "00-plexus.conflist": n.ours()} {
		var stat unix.Stat_t
		check.Must(n.t, unix.Stat(path, &stat))
		all[name] = stat.Ino
	}
	return all
}

func TestInstallRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(n *testNode)
		words  []string
	}{
		{"another's file of our name", func(n *testNode) { n.conf("00-plexus.conflist", bridgeList) }, []string{"00-plexus.conflist is there, and is no configuration of plexus", "--conf-name"}},
		{"a broken file of our name", func(n *testNode) { n.conf("00-plexus.conflist", ourList[:20]) }, []string{"is no configuration of plexus"}},
		{"a folder of our name", func(n *testNode) { check.Must(n.t, os.Mkdir(n.ours(), 0o755)) }, []string{"00-plexus.conflist: is not a regular file"}},
		{"nothing to install", func(n *testNode) { check.Must(n.t, os.Remove(n.options.From+"/plexus")) }, []string{"install plexus: --from:", "plexus: no such file"}},
		{"no executable to install", func(n *testNode) { check.Must(n.t, os.Chmod(n.options.From+"/plexus-once", 0o644)) }, []string{"install plexus-once: --from:", "is not an executable file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			tc.change(n)
			was := n.tree()
			check.Error(t, n.installer().Install(context.Background()), tc.words...)
			check.Error(t, n.installer().Preview(io.Discard), tc.words...)
			for path, content := range was {
				check.Equal(t, path, n.tree()[path], content)
			}
		})
	}
}

// TestInstallAfterAKill: what was being written goes, somebody else's file does not.
func TestInstallAfterAKill(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	for _, path := range []string{n.bin(".plexus.plexus-tmp"), n.bin(".old-name.plexus-tmp"), n.confPath(".00-plexus.conflist.plexus-tmp"), n.bin(".theirs.tmp"), n.confPath("plexus-tmp")} {
		check.Must(t, os.WriteFile(path, []byte("half"), 0o600))
	}
	check.Must(t, n.installer().Install(context.Background()))
	check.Equal(t, "files", n.files(), []string{
		"bin/.theirs.tmp", "bin/bridge", "bin/host-local", "bin/plexus", "bin/plexus-once", "bin/portmap",
		"net.d/00-plexus.conflist", "net.d/10-a.conflist", "net.d/plexus-tmp",
	})
}

// TestInstallIsNeverSeenHalf: whoever reads while installs run finds something whole.
func TestInstallIsNeverSeenHalf(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	versions := map[string]bool{}
	variants := [][]byte{bytes.Repeat([]byte("a"), 300<<10), bytes.Repeat([]byte("b"), 200<<10)}
	levels := []string{"debug", "warning"}
	for v := range variants {
		versions[string(variants[v])] = true
		n.options.PluginLogLevel = levels[v]
		master := confdir.Parse(n.confPath("10-a.conflist"), []byte(bridgeList))
		content, err := n.installer().generate(&master)
		check.Must(t, err)
		versions[string(content)] = true
	}
	install := func(v int) {
		n.options.PluginLogLevel = levels[v]
		check.Must(t, os.WriteFile(n.options.From+"/plexus", variants[v], 0o755))
		check.Must(t, n.installer().Install(context.Background()))
	}
	install(0)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, path := range []string{n.bin("plexus"), n.ours()} {
		readers.Go(func() { readWhole(t, path, versions, stop) })
	}
	for round := range 200 {
		install(round % 2)
	}
	close(stop)
	readers.Wait()
}

func readWhole(t *testing.T, path string, versions map[string]bool, stop <-chan struct{}) {
	reads := 0
	for {
		select {
		case <-stop:
			if reads == 0 {
				t.Errorf("%s was never read", path)
			}
			return
		default:
		}
		data, err := os.ReadFile(path)
		if err != nil || !versions[string(data)] {
			t.Errorf("%s is in no whole version: %d bytes, error %v", path, len(data), err)
			return
		}
		reads++
	}
}

// TestInstallOverARunningPlexus: it goes on, and the next call is of the new one.
func TestInstallOverARunningPlexus(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	check.Must(t, err)
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	check.Must(t, os.WriteFile(n.options.From+"/plexus", []byte(read(t, sleep)), 0o755))
	check.Must(t, n.installer().Install(context.Background()))
	cmd := exec.Command(n.bin("plexus"), "1000")
	check.Must(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	n.executable(n.options.From+"/plexus", "echo plexus v2")
	check.Must(t, n.installer().Install(context.Background()))
	check.Must(t, cmd.Process.Signal(unix.Signal(0)))
	out, err := exec.Command(n.bin("plexus")).Output()
	check.Must(t, err)
	check.Equal(t, "the new one", string(out), "plexus v2\n")
}

// TestInstallTogether: many installs at once do not get into each other's way.
func TestInstallTogether(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	var all sync.WaitGroup
	for range 8 {
		i := n.installer()
		all.Go(func() {
			if err := i.Install(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	check.Equal(t, "number of files", len(n.files()), 7)
}

func TestInstallWaitsForAnotherInstall(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	release, err := tryLockFolder(n.options.BinDir, unix.LOCK_EX)
	check.Must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	check.Error(t, n.installer().Install(ctx), n.options.BinDir, "another plexus-agent works on it")
	done := make(chan error, 1)
	i := n.installer()
	go func() { done <- i.Install(context.Background()) }()
	release()
	check.Must(t, <-done)
}

func TestInstallWarnsOfRivals(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	n.conf("00-multus.conf", multusConf)
	n.conf("01-plexus.conflist", ourList)
	n.conf("70-multus.conf", multusConf)
	n.conf("00-a.conf", "{")
	check.Must(t, n.installer().Install(context.Background()))
	for _, words := range []string{
		`sorts before the configuration of plexus, so that the runtime takes it instead: choose a --conf-name that sorts before it, or move it away" file=00-multus.conf owner=Multus's`,
		`sorts before the configuration of plexus, so that the runtime takes it instead: choose a --conf-name that sorts before it, or move it away" file=00-a.conf`,
		`another configuration of plexus, which is not used: remove it" file=01-plexus.conflist`,
		`the configuration of Multus is passed over`, `file=70-multus.conf`,
	} {
		check.Contains(t, "log", n.logs.String(), words)
	}
	check.Equal(t, "lines of the default network", countLines(n.logs.String(), "before the configuration of plexus"), 2)
}

func TestInstallAfterCilium(t *testing.T) {
	n := newTestNode(t)
	n.conf("05-cilium.conflist", bridgeList)
	n.conf("00-plexus.conflist.cilium_bak", ourList)
	n.conf("10-old.conflist.cilium_bak", bridgeList)
	check.Must(t, n.installer().Install(context.Background()))
	check.Contains(t, "log", n.logs.String(), "cni.exclusive: false", "cilium-config")
	check.Equal(t, "files", n.files()[5:], []string{"net.d/00-plexus.conflist", "net.d/05-cilium.conflist", "net.d/10-old.conflist.cilium_bak"})
}

func TestInstallWarnsOfAKubeconfigThatIsNotThere(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	n.options.Kubeconfig = "/nowhere/kubelet.conf"
	check.Must(t, n.installer().Install(context.Background()))
	check.Contains(t, "log", n.logs.String(), "level=WARN", "/nowhere/kubelet.conf")
	check.Contains(t, "configuration", read(t, n.ours()), `"kubeconfig": "/nowhere/kubelet.conf"`)
}

func TestInstallPreview(t *testing.T) {
	n := newTestNode(t)
	check.Error(t, n.installer().Preview(io.Discard), "no configuration of a default network")
	n.conf("10-a.conflist", bridgeList)
	check.Must(t, os.Remove(n.bin("portmap")))
	was := n.tree()
	var out bytes.Buffer
	check.Must(t, n.installer().Preview(&out))
	check.Equal(t, "files", n.tree(), was)
	check.Contains(t, "log", n.logs.String(), "would install an executable", "would wait for the default network", "yet: portmap", "would write the configuration")
	n.executable(n.bin("portmap"), "")
	check.Must(t, n.installer().Install(context.Background()))
	check.Equal(t, "what is printed", out.String(), read(t, n.ours()))
}
