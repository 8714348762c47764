package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// fakePlexus answers --version, and its DEL notes the call and removes the record.
const fakePlexus = `[ "$1" != --version ] || { echo plexus v9; exit; }
{ echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME netns=$CNI_NETNS args=$CNI_ARGS"; cat; echo; } >>@DIR@/calls
[ ! -e "@DIR@/fail" ] || { echo '{"cniVersion":"1.0.0","code":7,"msg":"not today"}'; exit 1; }
rm -f "@DIR@"/cni/plexus/"$CNI_CONTAINERID"@* "@DIR@"/cni/plexus/"$CNI_CONTAINERID".lock`

// installed gives a node on which a fake of plexus is installed.
func installed(t *testing.T) *testNode {
	t.Helper()
	n := newTestNode(t)
	n.executable(n.options.From+"/plexus", strings.ReplaceAll(fakePlexus, "@DIR@", n.dir()))
	n.conf("10-a.conflist", bridgeList)
	check.Must(t, n.installer().Install(context.Background()))
	return n
}

func (n *testNode) dir() string { return filepath.Dir(n.options.CNIDir) }

func (n *testNode) uninstaller(release bool) *Uninstaller {
	n.t.Helper()
	o := n.options
	u, err := NewUninstaller(UninstallOptions{From: o.From, BinDir: o.BinDir, ConfDir: o.ConfDir, ConfName: o.ConfName, CNIDir: o.CNIDir, Release: release}, n.logs.logger())
	check.Must(n.t, err)
	return u
}

// record writes a record of a sandbox, of this boot unless told otherwise.
func (n *testNode) record(id, netns string, inode uint64, bootID ...string) {
	n.t.Helper()
	boot, err := host.BootID()
	check.Must(n.t, err)
	if len(bootID) > 0 {
		boot = bootID[0]
	}
	lock, _, err := journal.New(filepath.Join(n.options.CNIDir, "plexus")).TryLock(id)
	check.Must(n.t, err)
	defer lock.Release()
	intent := types.Intent{
		Format: types.RecordFormat, BootID: boot, Network: "plexus", NetNSInode: inode, Created: time.Unix(0, 0),
		Plan: types.Plan{
			Pod:         types.Pod{Namespace: "demo", Name: "pod-" + id},
			Sandbox:     types.Sandbox{ContainerID: id, NetNS: netns, IfName: "eth0", Args: [][2]string{{"K8S_POD_NAME", "pod-" + id}}},
			Attachments: []types.Attachment{{Network: "cbr0", Name: "cbr0", Interface: "eth0", Default: true, Config: bridgeList}},
		},
	}
	check.Must(n.t, lock.Create(journal.Key{ContainerID: id, Network: "plexus", IfName: "eth0"}, intent))
}

// ownNetNS is a network namespace that lives: this process's own.
const ownNetNS = "/proc/self/ns/net"

func ownInode(t *testing.T) uint64 {
	t.Helper()
	var stat unix.Stat_t
	check.Must(t, unix.Stat(ownNetNS, &stat))
	return stat.Ino
}

func TestSandboxMayLive(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "left")
	check.Must(t, os.WriteFile(left, nil, 0o600))
	for _, tc := range []struct {
		name, path string
		inode      uint64
		want       bool
	}{
		{"it is there", ownNetNS, ownInode(t), true},
		{"it is not known which", ownNetNS, 0, true},
		{"another is there", ownNetNS, 1, false},
		{"no path", "", 0, false},
		{"it is gone", filepath.Join(dir, "gone"), 1, false},
		{"its mount is gone", left, 1, false},
		{"its process is gone", "/proc/4194305/ns/net", 1, false},
		{"it cannot be seen from here", filepath.Join(dir, "nowhere", "cni-1"), 1, true},
		{"it cannot be looked at", strings.Repeat("/x", 3000), 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := journal.Whereabouts{BootID: "b", NetNS: tc.path, ID: host.NetNSID{Inode: tc.inode}}
			check.Equal(t, "lives", w.MayLive("b"), tc.want)
		})
	}
}

func TestUninstallRestores(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	n.conf("05-b.conf", "broken")
	was := n.tree()
	check.Must(t, n.installer().Install(context.Background()))
	check.Must(t, os.WriteFile(n.bin(".plexus.plexus-tmp"), nil, 0o600))
	check.Must(t, os.WriteFile(n.confPath(".00-plexus.conflist.plexus-tmp"), nil, 0o600))
	check.Must(t, os.WriteFile(n.ours()+ciliumSuffix, []byte(ourList), 0o600))
	check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
	check.Equal(t, "files", n.tree(), was)
	check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
	check.Equal(t, "files after another", n.tree(), was)
}

func TestUninstallLeavesWhatIsNotOurs(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(n *testNode)
		left   []string
		words  string
	}{
		{"another's file of our name", func(n *testNode) { n.conf("00-plexus.conflist", single) }, []string{"net.d/00-plexus.conflist"}, "no configuration of plexus: left as it is"},
		{"another's executable of our name", func(n *testNode) { n.executable(n.bin("plexus"), "echo plexiglass v1") }, []string{"bin/plexus"}, "nor does it say that it is plexus's"},
		{"another version", func(n *testNode) { n.executable(n.bin("plexus"), "echo 'plexus v0.9 (commit x)'") }, nil, "removed an executable"},
		{"one that fails", func(n *testNode) { n.executable(n.bin("plexus-once"), "echo plexus-once v1; exit 1") }, []string{"bin/plexus-once"}, "left as it is"},
		{"no folder to compare with", func(n *testNode) { check.Must(n.t, os.RemoveAll(n.options.From)) }, nil, "removed an executable"},
		{"a second configuration", func(n *testNode) { n.conf("20-p.conflist", ourList) }, []string{"bin/plexus", "bin/plexus-once", "net.d/20-p.conflist"}, "another configuration of plexus needs them"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := installed(t)
			tc.change(n)
			var preview bytes.Buffer
			check.Must(t, n.uninstaller(false).Preview(context.Background(), &preview))
			for _, left := range tc.left {
				if strings.Contains(preview.String(), left+"\n") {
					t.Errorf("the preview removes %s: %s", left, &preview)
				}
			}
			check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
			left := []string{}
			for _, name := range n.files() {
				if strings.Contains(name, "plexus") || strings.Contains(name, "20-p") {
					left = append(left, name)
				}
			}
			check.Equal(t, "what is left", strings.Join(left, " "), strings.Join(tc.left, " "))
			check.Contains(t, "log", n.logs.String(), tc.words)
		})
	}
}

func TestUninstallPreviewNamesWhatWasSetAside(t *testing.T) {
	for _, suffix := range []string{".corrupt", ".given-up", ".given-up.2"} {
		n := installed(t)
		path := filepath.Join(n.options.CNIDir, "plexus", "c1@plexus@eth0.jsonl"+suffix)
		check.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check.Must(t, os.WriteFile(path, nil, 0o600))
		var preview bytes.Buffer
		check.Must(t, n.uninstaller(false).Preview(context.Background(), &preview))
		check.Contains(t, "preview", preview.String(), "would leave "+path)
		check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestUninstallRefusesWhileSandboxesLive(t *testing.T) {
	n := installed(t)
	for c := range 12 {
		n.record(fmt.Sprintf("c%02d", c), ownNetNS, ownInode(t))
	}
	n.record("dead", "/proc/4194305/ns/net", 1)
	was := n.tree()
	err := n.uninstaller(false).Uninstall(context.Background())
	check.Error(t, err, "sandbox c00 (pod demo/pod-c00), sandbox c01", "sandbox c09 (pod demo/pod-c09), and 2 more: drain the node", "--release")
	for _, not := range []string{"c10", "dead"} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("the error names %s: %v", not, err)
		}
	}
	check.Error(t, n.uninstaller(false).Preview(context.Background(), &bytes.Buffer{}), "and 2 more: drain the node")
	check.Equal(t, "files", n.tree(), was)
	if exists(n.dir() + "/calls") {
		t.Errorf("plexus was called: %s", read(t, n.dir()+"/calls"))
	}
}

// TestUninstallOfDamagedRecords: what cannot be read may be of a sandbox that lives.
func TestUninstallOfDamagedRecords(t *testing.T) {
	n := installed(t)
	n.record("c1", "", 0)
	check.Must(t, os.WriteFile(n.recordPath("c1"), []byte("damage"), 0o600))
	check.Error(t, n.uninstaller(false).Uninstall(context.Background()), "sandbox c1 (record of container c1", "the record is damaged")
	check.Must(t, n.uninstaller(true).Uninstall(context.Background()))
	check.Contains(t, "calls", read(t, n.dir()+"/calls"), "DEL c1 eth0 netns= args=\n")
}

func (n *testNode) recordPath(id string) string {
	return filepath.Join(n.options.CNIDir, "plexus", id+"@plexus@eth0.jsonl")
}

// TestUninstallReleases: the dead always, the living by --release, as a runtime would.
func TestUninstallReleases(t *testing.T) {
	n := installed(t)
	n.record("gone", "/proc/4194305/ns/net", 1)
	n.record("older", ownNetNS, ownInode(t), "another boot")
	n.record("c1", ownNetNS, ownInode(t))
	var out bytes.Buffer
	check.Must(t, n.uninstaller(true).Preview(context.Background(), &out))
	check.Equal(t, "preview", out.String(), fmt.Sprintf(`would release sandbox c1 (pod demo/pod-c1)
would release sandbox gone (pod demo/pod-gone)
would release sandbox older (pod demo/pod-older)
would remove %s
would remove %s
would remove %s
`, n.ours(), n.bin("plexus"), n.bin("plexus-once")))
	u := n.uninstaller(true)
	u.CNIDir = "" // as the configuration says
	check.Must(t, u.Uninstall(context.Background()))
	calls := read(t, n.dir()+"/calls")
	check.Contains(t, "calls", calls,
		"DEL c1 eth0 netns=/proc/self/ns/net args=K8S_POD_NAME=pod-c1\n", "DEL gone eth0 netns= args=K8S_POD_NAME=pod-gone\n", "DEL older eth0 netns= args=",
		`"type":"plexus"`, `"name":"plexus"`, `"cniVersion":"1.1.0"`, `"cniDir":"`+n.options.CNIDir+`"`, `"clusterNetwork":"`+n.confPath("10-a.conflist"))
	check.Equal(t, "files", n.files(), []string{"bin/bridge", "bin/host-local", "bin/portmap", "net.d/10-a.conflist"})
	if exists(n.options.CNIDir) {
		t.Errorf("the empty folder of the state is left: %s", n.options.CNIDir)
	}
}

// TestUninstallWithoutConfiguration: what a record says is enough to release it.
func TestUninstallWithoutConfiguration(t *testing.T) {
	n := installed(t)
	check.Must(t, os.Remove(n.ours()))
	n.record("c1", ownNetNS, ownInode(t))
	u := n.uninstaller(true)
	check.Must(t, u.Uninstall(context.Background()))
	check.Contains(t, "calls", read(t, n.dir()+"/calls"), `"delegates":[{`, `"name":"cbr0"`, `"name":"plexus"`, `"cniDir":"`+n.options.CNIDir)
}

func TestUninstallWhenAReleaseFails(t *testing.T) {
	n := installed(t)
	n.record("c1", ownNetNS, ownInode(t))
	n.record("c2", "/proc/4194305/ns/net", 1)
	check.Must(t, os.WriteFile(n.dir()+"/fail", nil, 0o600))
	was := n.tree()
	check.Error(t, n.uninstaller(true).Uninstall(context.Background()),
		"release sandbox c1 (pod demo/pod-c1)", "release sandbox c2", "not today", "the executables and the configuration stay", "run this again")
	check.Equal(t, "files", n.tree(), was)
	check.Must(t, os.Remove(n.dir()+"/fail"))
	check.Must(t, n.uninstaller(true).Uninstall(context.Background()))
	check.Equal(t, "number of files", len(n.files()), 4)
}

// TestUninstallWhenASandboxComesMeanwhile: it is attached while the configuration goes.
func TestUninstallWhenASandboxComesMeanwhile(t *testing.T) {
	n := installed(t)
	u := n.uninstaller(false)
	conf, err := u.installed()
	check.Must(t, err)
	n.record("late", ownNetNS, ownInode(t))
	was := n.tree()
	check.Error(t, u.removeConf(context.Background(), conf), "sandbox late (pod demo/pod-late)", "drain the node")
	check.Equal(t, "files", n.tree(), was)
}

func TestUninstallNothing(t *testing.T) {
	n := newTestNode(t)
	check.Must(t, os.RemoveAll(n.options.BinDir))
	check.Must(t, os.RemoveAll(n.options.ConfDir))
	check.Must(t, n.uninstaller(false).Uninstall(context.Background()))
}

func TestUninstallFindsTheState(t *testing.T) {
	n := newTestNode(t)
	for name, tc := range map[string]struct{ flag, conf, want string }{
		"the flag":          {"/flag", `{"plugins":[{"type":"plexus","cniDir":"/conf"}]}`, "/flag"},
		"the configuration": {"", `{"plugins":[{"type":"plexus","cniDir":"/conf"}]}`, "/conf"},
		"no key":            {"", ourList, types.DefaultCNIDir},
		"not installed":     {"", "", types.DefaultCNIDir},
	} {
		t.Run(name, func(t *testing.T) {
			u := n.uninstaller(false)
			u.CNIDir = tc.flag
			check.Equal(t, "cniDir", u.cniDir([]byte(tc.conf)), tc.want)
		})
	}
}

func TestUninstallOptionsRefused(t *testing.T) {
	_, err := NewUninstaller(UninstallOptions{BinDir: "bin", ConfDir: "net.d", ConfName: "x", CNIDir: "cni"}, (&logBuffer{}).logger())
	check.Error(t, err, "--conf-name", "--bin-dir", "--conf-dir", "--cni-dir: must be an absolute path")
	if !IsMisuse(err) {
		t.Errorf("it is no misuse: %v", err)
	}
}
