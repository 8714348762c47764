package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// following installs on a node with a default network and follows until the test ends.
func following(t *testing.T) (n *testNode, stop func() error) {
	t.Helper()
	n = newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	stop = n.background(n.installer().Follow)
	n.eventually("it follows", n.logged("following the default network"))
	return n, stop
}

// around reports whether our configuration is one around a file.
func (n *testNode) around(file string) func() bool {
	return func() bool {
		data, err := os.ReadFile(n.ours())
		return err == nil && strings.Contains(string(data), `"`+n.confPath(file)+`"`)
	}
}

func TestFollowTheDefaultNetwork(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(n *testNode)
		is     func(n *testNode) bool
	}{
		{"another comes before it", func(n *testNode) { n.conf("05-b.conf", single) }, func(n *testNode) bool { return n.around("05-b.conf")() }},
		{"it is renamed", func(n *testNode) {
			check.Must(n.t, os.Rename(n.confPath("10-a.conflist"), n.confPath("20-a.conflist")))
		}, func(n *testNode) bool { return n.around("20-a.conflist")() }},
		{"it is removed, and another is there", func(n *testNode) {
			n.conf("20-b.conf", single)
			check.Must(n.t, os.Remove(n.confPath("10-a.conflist")))
		}, func(n *testNode) bool { return n.around("20-b.conf")() }},
		{"another capability", func(n *testNode) {
			n.conf("10-a.conflist", strings.ReplaceAll(bridgeList, "portMappings", "bandwidth"))
		}, func(n *testNode) bool {
			data, err := os.ReadFile(n.ours())
			return err == nil && strings.Contains(string(data), `"bandwidth": true`) && !strings.Contains(string(data), "portMappings")
		}},
		{"ours is removed", func(n *testNode) { check.Must(n.t, os.Remove(n.ours())) }, func(n *testNode) bool { return n.around("10-a.conflist")() }},
		{"ours is renamed", func(n *testNode) { check.Must(n.t, os.Rename(n.ours(), n.ours()+".bak")) }, func(n *testNode) bool { return n.around("10-a.conflist")() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, stop := following(t)
			tc.change(n)
			n.eventually("the configuration is as it should be", func() bool { return tc.is(n) })
			check.Must(t, stop())
			if !tc.is(n) {
				t.Error("the end of following has changed the configuration")
			}
		})
	}
}

// TestFollowKeeps: what is there stays when nothing better is known.
func TestFollowKeeps(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(n *testNode)
		words  string
	}{
		{"no default network is left", func(n *testNode) { check.Must(n.t, os.Remove(n.confPath("10-a.conflist"))) }, "no configuration of a default network"},
		{"it is put aside by Cilium", func(n *testNode) {
			check.Must(n.t, os.Rename(n.confPath("10-a.conflist"), n.confPath("10-a.conflist.cilium_bak")))
		}, "no configuration of a default network"},
		{"another is not ready", func(n *testNode) { n.conf("05-b.conf", missingConf) }, "yet: not-there"},
		{"it is half written, and another is there", func(n *testNode) {
			n.conf("20-b.conf", single)
			n.conf("10-a.conflist", bridgeList[:50])
		}, "10-a.conflist: error parsing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, stop := following(t)
			was := read(t, n.ours())
			tc.change(n)
			n.eventually("it says so", n.logged(tc.words))
			check.Must(t, stop())
			check.Equal(t, "configuration", read(t, n.ours()), was)
		})
	}
}

// A follower knows from the beginning which default network it must not leave for another one.
func TestInstallSaysWhichDefaultNetwork(t *testing.T) {
	n := newTestNode(t)
	n.conf("20-b.conf", single)
	n.conf("10-a.conflist", bridgeList)
	content, master, err := n.installer().install(t.Context())
	check.Must(t, err)
	check.Equal(t, "default network", master, "10-a.conflist")
	check.Equal(t, "content", string(content), read(t, n.ours()))
}

// TestFollowDoesNotPutBackWithoutADefaultNetwork: it would lead nowhere.
func TestFollowDoesNotPutBackWithoutADefaultNetwork(t *testing.T) {
	n, stop := following(t)
	check.Must(t, os.Remove(n.confPath("10-a.conflist")))
	n.eventually("it is noticed", n.logged("kept as it is"))
	check.Must(t, os.Remove(n.ours()))
	n.eventually("it is noticed", n.logged("is put back once the default network is ready"))
	if exists(n.ours()) {
		t.Error("it was put back")
	}
	n.conf("10-a.conflist", bridgeList)
	n.eventually("it is put back", n.around("10-a.conflist"))
	check.Must(t, stop())
}

// TestFollowCilium: Cilium renames what is not its own, again and again.
func TestFollowCilium(t *testing.T) {
	n, stop := following(t)
	for round := 1; round <= 3; round++ {
		check.Must(t, os.Rename(n.ours(), n.ours()+ciliumSuffix))
		n.eventually("it is put back", n.around("10-a.conflist"))
		n.eventually("it says so each time", func() bool {
			return countLines(n.logs.String(), "Cilium has renamed") == round && !exists(n.ours()+ciliumSuffix)
		})
	}
	check.Contains(t, "log", n.logs.String(), "cni.exclusive: false", "cilium-config")
	check.Must(t, stop())
}

// TestFollowLeavesAlone what others have put in the place of ours.
func TestFollowLeavesAlone(t *testing.T) {
	for name, tc := range map[string]struct{ content, words string }{
		"another plexus's":  {ourList, "changed by another install or by hand"},
		"somebody else's":   {single, "somebody has put another configuration in the place"},
		"what nobody reads": {"{", "somebody has put another configuration in the place"},
	} {
		t.Run(name, func(t *testing.T) {
			n, stop := following(t)
			n.conf(n.options.ConfName, tc.content)
			n.eventually("it says so", n.logged(tc.words))
			n.conf("05-b.conf", single)
			n.conf("04-x.conf", "no JSON")
			n.eventually("it has looked again", n.logged("04-x.conf"))
			check.Equal(t, "content", read(t, n.ours()), tc.content)
			check.Must(t, os.Remove(n.ours()))
			n.eventually("it is made anew", n.around("05-b.conf"))
			check.Must(t, stop())
		})
	}
}

func TestFollowEndsWhileItWaits(t *testing.T) {
	n := newTestNode(t)
	stop := n.background(n.installer().Follow)
	n.eventually("it waits", n.logged("waiting for the default network"))
	check.Must(t, stop())
	if exists(n.ours()) {
		t.Error("there is a configuration")
	}
}

func TestFollowRefuses(t *testing.T) {
	n := newTestNode(t)
	n.conf("00-plexus.conflist", single)
	check.Error(t, n.installer().Follow(context.Background()), "is no configuration of plexus")
}

// TestFollowGoesOnWhenItCannotWrite: a full disk, a folder that is mounted read-only.
func TestFollowGoesOnWhenItCannotWrite(t *testing.T) {
	n, stop := following(t)
	blocker := n.confPath(".00-plexus.conflist.plexus-tmp")
	check.Must(t, os.MkdirAll(blocker+"/x", 0o755)) // a temporary file that cannot be removed
	check.Must(t, os.Remove(n.ours()))
	n.eventually("it says so", n.logged("write the configuration of plexus"))
	// At once: it would write its file between the removal of the content and that of the folder.
	check.Must(t, os.Rename(blocker, filepath.Join(t.TempDir(), "blocker")))
	n.eventually("it is put back", n.around("10-a.conflist"))
	check.Must(t, stop())
}

func TestUninstallRefusesBesideAFollower(t *testing.T) {
	n, stop := following(t)
	check.Error(t, n.uninstaller(false).Uninstall(context.Background()), "delete plexus's DaemonSet first")
	if !exists(n.ours()) || !exists(n.bin("plexus")) {
		t.Error("something is gone")
	}
	check.Must(t, stop())
	check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
	// An uninstall that is under way keeps a follower out.
	release, err := tryLockFolder(n.options.ConfDir, unix.LOCK_EX)
	check.Must(t, err)
	stop = n.background(n.installer().Follow)
	check.Must(t, stop())
	release()
	if exists(n.ours()) {
		t.Error("it was installed all the same")
	}
}

// removeFolder removes a folder into which a follower may be putting something back.
func (n *testNode) removeFolder(dir string) {
	n.t.Helper()
	n.eventually("the folder is removed", func() bool { return os.RemoveAll(dir) == nil })
}

// TestFollowFolders: somebody removes a folder of the node, or moves it away.
func TestFollowFolders(t *testing.T) {
	ours := func(n *testNode) bool { return n.whole() && n.around("10-a.conflist")() }
	remade := func(n *testNode) {
		check.Must(n.t, os.MkdirAll(n.options.ConfDir, 0o755))
		n.conf("10-a.conflist", bridgeList)
	}
	for _, tc := range []struct {
		name string
		harm func(n *testNode)
	}{
		{"that of configurations is removed", func(n *testNode) {
			n.removeFolder(n.options.ConfDir)
			n.eventually("it is made again", func() bool { return exists(n.options.ConfDir) })
			remade(n)
		}},
		{"that of configurations is moved, and another is there", func(n *testNode) {
			check.Must(n.t, os.Rename(n.options.ConfDir, n.beside("net.d.bak")))
			remade(n)
		}},
		{"that of plugins is removed", func(n *testNode) {
			n.removeFolder(n.options.BinDir)
			n.eventually("the executables are put back", n.whole)
			n.plugins(n.options.BinDir)
			check.Must(n.t, os.Remove(n.ours()))
		}},
		{"that of plugins is moved", func(n *testNode) {
			check.Must(n.t, os.Rename(n.options.BinDir, n.beside("bin.bak")))
			n.eventually("the executables are put back", n.whole)
			n.plugins(n.options.BinDir)
			check.Must(n.t, os.Remove(n.ours()))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, _, stop := hearing(t, func(*testNode) {})
			tc.harm(n)
			n.eventually("the node is as it was", func() bool { return ours(n) })
			check.Error(t, n.uninstaller(false).Uninstall(context.Background()), "delete plexus's DaemonSet first")
			check.Must(t, stop())
			check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
		})
	}
}

// TestEndsWhenAFolderIsMoved: what the host has under the name is not to be reached, be it
// the default network that is waited for.
func TestEndsWhenAFolderIsMoved(t *testing.T) {
	plugins, configurations := func(o *Options) (string, *string) { return o.BinDir, &o.HostBinDir }, func(o *Options) (string, *string) { return o.ConfDir, &o.HostConfDir }
	install, follow := (*Installer).Install, (*Installer).Follow
	for _, tc := range []struct {
		name   string
		run    func(*Installer, context.Context) error
		ready  bool
		folder func(*Options) (string, *string)
	}{
		{"follow, that of plugins", follow, true, plugins},
		{"follow, that of configurations", follow, true, configurations},
		{"follow that waits, that of plugins", follow, false, plugins},
		{"follow that waits, that of configurations", follow, false, configurations},
		{"install that waits, that of configurations", install, false, configurations},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newTestNode(t)
			begun := n.logged("waiting for the default network")
			if tc.ready {
				n.conf("10-a.conflist", bridgeList)
				begun = n.logged("following the default network")
			}
			folder, onHost := tc.folder(&n.options)
			*onHost = n.beside("current")
			n.linkTo(folder, *onHost)
			i := n.installer()
			i.pace.recheck = time.Hour // it is seen at once
			done := make(chan error, 1)
			go func() { done <- tc.run(i, t.Context()) }()
			n.eventually("it has begun", begun)
			n.plugins(n.beside("v2"))
			n.linkTo(n.beside("v2"), *onHost)
			if err := <-done; !errors.Is(err, host.ErrMoved) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestExecutablesAreKeptWithoutADefaultNetwork: pods of before need them to end.
func TestExecutablesAreKeptWithoutADefaultNetwork(t *testing.T) {
	for name, harm := range map[string]func(n *testNode){
		"removed": func(n *testNode) { check.Must(n.t, os.Remove(n.bin("plexus"))) },
		"emptied": func(n *testNode) { check.Must(n.t, os.WriteFile(n.bin("plexus-once"), nil, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			stop := n.background(n.installer().Follow)
			n.eventually("it waits", n.logged("waiting for the default network"))
			harm(n)
			n.eventually("the executables are put back", n.whole)
			check.Must(t, stop())
		})
	}
}

// TestOursIsPutBackWithoutDelay: while it is gone, pods start without plexus. It does not wait
// until the folder is quiet, which here takes an hour.
func TestOursIsPutBackWithoutDelay(t *testing.T) {
	for name, harm := range map[string]func(n *testNode) error{
		"removed": func(n *testNode) error { return os.Remove(n.ours()) },
		"renamed": func(n *testNode) error { return os.Rename(n.ours(), n.ours()+ciliumSuffix) },
		"removed after another change": func(n *testNode) error {
			n.conf("20-b.conf", single)
			return os.Remove(n.ours())
		},
		"moved far away": func(n *testNode) error { return os.Rename(n.ours(), n.beside("aside")) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			n.conf("10-a.conflist", bridgeList)
			i := n.installer()
			i.pace.settle, i.pace.recheck = time.Hour, time.Hour
			stop := n.background(i.Follow)
			n.eventually("it follows", n.logged("following the default network"))
			check.Must(t, harm(n))
			n.eventually("it is put back", n.around("10-a.conflist"))
			check.Must(t, stop())
		})
	}
}
