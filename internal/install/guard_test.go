package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// hearing installs on a node, and follows with nothing but inotify to tell it.
func hearing(t *testing.T, prepare func(n *testNode)) (n *testNode, i *Installer, stop func() error) {
	t.Helper()
	n = newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	prepare(n)
	i = n.installer()
	i.pace.recheck = time.Hour
	stop = n.background(i.Follow)
	n.eventually("it follows", n.logged("following the default network"))
	return n, i, stop
}

// value gives a metric of a follower, by the value of its label.
func (i *Installer) value(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := i.metrics.registry.Gather()
	check.Must(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == label {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, label)
	return 0
}

// whole reports whether the node has all executables of plexus as they are to be.
func (n *testNode) whole() bool {
	for _, name := range executables {
		want, err := os.ReadFile(filepath.Join(n.options.From, name))
		check.Must(n.t, err)
		got, err := os.ReadFile(n.bin(name))
		info, statErr := os.Stat(n.bin(name))
		if err != nil || statErr != nil || string(got) != string(want) || info.Mode().Perm() != modeExecutable {
			return false
		}
	}
	return true
}

// linkTo makes a link, in one step also where another is there.
func (n *testNode) linkTo(target, link string) {
	n.t.Helper()
	check.Must(n.t, os.Symlink(target, link+".new"))
	check.Must(n.t, os.Rename(link+".new", link))
}

// plugins makes a folder with the plugins of the default network.
func (n *testNode) plugins(dir string) {
	n.t.Helper()
	check.Must(n.t, os.MkdirAll(dir, 0o755))
	for _, name := range []string{"bridge", "host-local", "portmap"} {
		n.executable(filepath.Join(dir, name), "")
	}
}

func (n *testNode) beside(name string) string {
	return filepath.Join(filepath.Dir(n.options.BinDir), name)
}

func TestFollowPutsExecutablesBack(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(n *testNode)
		harm    func(n *testNode)
	}{
		{"removed", func(*testNode) {}, func(n *testNode) {
			check.Must(n.t, os.Remove(n.bin("plexus")))
			check.Must(n.t, os.Remove(n.bin("plexus-once")))
		}},
		{"emptied", func(*testNode) {}, func(n *testNode) { check.Must(n.t, os.Truncate(n.bin("plexus"), 0)) }},
		{"another's in its place", func(*testNode) {}, func(n *testNode) {
			n.executable(n.bin("x"), "exit 1")
			check.Must(n.t, os.Rename(n.bin("x"), n.bin("plexus-once")))
		}},
		{"no executable any more", func(*testNode) {}, func(n *testNode) { check.Must(n.t, os.Chmod(n.bin("plexus"), 0o644)) }},
		{"as long as before", func(*testNode) {}, func(n *testNode) {
			was := read(n.t, n.bin("plexus"))
			check.Must(n.t, os.WriteFile(n.bin("plexus"), []byte(strings.ReplaceAll(was, "echo", "true")), 0o755))
		}},
		{"the folder is a link, and is turned", func(n *testNode) {
			check.Must(n.t, os.Rename(n.options.BinDir, n.beside("v1")))
			n.linkTo("v1", n.options.BinDir)
		}, func(n *testNode) {
			n.plugins(n.beside("v2"))
			n.linkTo(n.beside("v2"), n.options.BinDir)
		}},
		{"a link above the folder is turned", func(n *testNode) {
			n.plugins(n.beside("data/v1/bin"))
			n.linkTo(n.beside("data/v1"), n.beside("data/current"))
			check.Must(n.t, os.RemoveAll(n.options.BinDir))
			n.linkTo(n.beside("data/current/bin"), n.options.BinDir)
		}, func(n *testNode) {
			n.plugins(n.beside("data/v2/bin"))
			n.linkTo("v2", n.beside("data/current"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, i, stop := hearing(t, tc.prepare)
			if !n.whole() {
				t.Fatal("it did not install them")
			}
			tc.harm(n)
			n.eventually("they are put back", n.whole)
			n.eventually("it is counted", func() bool { return i.value(t, "plexus_node_repairs_total", repairExecutable) > 0 })
			check.Contains(t, "log", n.logs.String(), "somebody has removed or changed an executable of plexus")
			check.Must(t, stop())
		})
	}
}

// TestFollowSpacesOutRepairs: who removes an executable again and again is not raced with.
func TestFollowSpacesOutRepairs(t *testing.T) {
	n := newTestNode(t)
	n.conf("10-a.conflist", bridgeList)
	i := n.installer()
	check.Must(t, i.Install(t.Context()))
	i.pace.first, i.pace.longest = time.Hour, time.Hour
	g := newGuard(i)
	check.Must(t, os.Remove(n.bin("plexus")))
	check.Equal(t, "pause after a repair", g.round(t.Context()), i.pace.recheck)
	if !n.whole() {
		t.Error("it was not put back")
	}
	check.Must(t, os.Remove(n.bin("plexus")))
	if pause := g.round(t.Context()); n.whole() || pause <= i.pace.recheck {
		t.Errorf("it was put back at once, or is looked at again after %v", pause)
	}
}

// TestFollowSaysWhyItCannotPutBack: a folder has the name of an executable.
func TestFollowSaysWhyItCannotPutBack(t *testing.T) {
	n, _, stop := hearing(t, func(*testNode) {})
	n.folderFor("plexus")
	n.eventually("it says so", n.logged("put an executable of plexus back"))
	check.Must(t, os.RemoveAll(n.bin("plexus")))
	n.eventually("it is put back", n.whole)
	check.Must(t, stop())
}

func TestNamesOf(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, os.MkdirAll(filepath.Join(dir, "v1", "bin"), 0o755))
	for _, link := range [][2]string{{"v1", "current"}, {"current/bin", "bin"}, {"b", "a"}, {"a", "b"}} {
		check.Must(t, os.Symlink(link[0], filepath.Join(dir, link[1])))
	}
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"v1/bin", []string{"v1/bin"}},
		{"bin", []string{"bin", "current/bin", "current", "v1/bin", "v1"}},
		{"not/there", []string{"not/there"}},
		{"a", []string{"a", "b"}},
	} {
		var want []string
		for _, name := range tc.want {
			want = append(want, filepath.Join(dir, name))
		}
		check.Equal(t, "names of "+tc.path, namesOf(filepath.Join(dir, tc.path)), want)
	}
}
