package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// second is a network beside that of the bridge, of a plugin that the test writes.
func second(name string) node.Conf {
	return node.Conf{"cniVersion": "1.1.0", "name": name, "type": name}
}

// STATUS speaks for every network that each pod gets, not for the first alone: by their own
// STATUS, by their configuration and by their executables.
func TestNetnsStatusOfEveryDefaultNetwork(t *testing.T) {
	n := gcNode(t)
	n.Plugin("extra", "")
	n.Plugin("plain", "")
	n.Run("chmod", "0644", n.PluginDir+"/plain")
	n.Hook("extra", "STATUS", "fail 50 'not available'")
	n.WriteFile(n.ConfDir+"/50-extra.conflist", node.List("listed", "1.1.0", second("extra")).String())
	n.WriteFile(n.ConfDir+"/aux/1.conf", second("extra").String())
	n.WriteFile(n.ConfDir+"/60-main.conflist", node.List("main", "1.1.0", in110(node.ClusterBridge())).String())
	n.NetworkIn("kube-system", "defined", second("extra"))
	n.NetworkIn("kube-system", "ghostly", second("ghost"))
	bridge := in110(node.ClusterBridge())
	for name, c := range map[string]struct {
		conf  node.Conf
		names []string
	}{
		"delegates[1]: its STATUS":                   {node.Conf{"delegates": []node.Conf{bridge, second("extra")}}, []string{"network extra", "plugin extra (STATUS)", "not available"}},
		"delegates[2]: no executable":                {node.Conf{"delegates": []node.Conf{bridge, in110(node.Macvlan("mac", "up0", "10.2.0.0/16")), second("ghost")}}, []string{"network ghost", "plugins[0].type", n.PluginDir}},
		"delegates[1]: not executable":               {node.Conf{"delegates": []node.Conf{bridge, second("plain")}}, []string{"network plain", n.PluginDir + "/plain", "is not executable"}},
		"the second plugin of a list":                {node.Conf{"delegates": []node.Conf{node.List("chain", "1.1.0", bridge, second("ghost"))}}, []string{"network chain", "plugins[1].type", "ghost"}},
		"a file's network: its STATUS":               {node.Conf{"defaultNetworks": []string{"listed"}}, []string{"network listed", "plugin extra (STATUS)"}},
		"a path's network: its STATUS":               {node.Conf{"defaultNetworks": []string{n.ConfDir + "/50-extra.conflist"}}, []string{"network listed", "plugin extra (STATUS)"}},
		"a path that is not there":                   {node.Conf{"defaultNetworks": []string{n.Path("nofile")}}, []string{"defaultNetworks[0]", n.Path("nofile")}},
		"a manifest's network: its STATUS":           {node.Conf{"defaultNetworks": []string{"defined"}}, []string{"network kube-system/defined", "plugin extra (STATUS)"}},
		"a manifest's network: no executable":        {node.Conf{"delegates": nil, "clusterNetwork": "ghostly"}, []string{"network kube-system/ghostly", "plugins[0].type", "ghost"}},
		"a name that nobody has":                     {node.Conf{"defaultNetworks": []string{"nobody"}}, []string{"defaultNetworks[0]", "kube-system/nobody", n.ConfDir}},
		"the auxiliary chain: its STATUS":            {node.Conf{"delegates": nil, "clusterNetwork": n.ConfDir + "/60-main.conflist", "auxiliaryCNIChainName": "aux"}, []string{"network aux", "plugin extra (STATUS)"}},
		"confDir is a file, and a name is looked up": {node.Conf{"defaultNetworks": []string{"nobody"}, "confDir": n.ConfDir + "/50-extra.conflist"}, []string{"confDir", "50-extra.conflist"}},
	} {
		t.Run(name, func(t *testing.T) {
			check.Contains(t, "error", status(n, gcConf(n, c.conf)).Fails(50).Msg, c.names...)
		})
	}
	n.Calls()
	status(n, gcConf(n, node.Conf{"delegates": []node.Conf{bridge, second("extra").With(node.Conf{"cniVersion": "1.0.0"})}})).OK()
	check.Equal(t, "calls", n.CallNames(), []string{"STATUS bridge "}) // before 1.1.0 there was no STATUS
}

// Of several answers the worst is given: that pods which are there are cut off too.
func TestNetnsStatusGivesTheWorstCode(t *testing.T) {
	n := gcNode(t)
	n.Plugin("extra", "")
	conf := gcConf(n, node.Conf{"delegates": []node.Conf{in110(node.ClusterBridge()), second("extra")}})
	for _, codes := range [][3]string{{"50", "51"}, {"51", "50"}} {
		n.Hook("bridge", "STATUS", "fail "+codes[0]+" one")
		n.Hook("extra", "STATUS", "fail "+codes[1]+" other")
		check.Contains(t, "error", status(n, conf).Fails(51).Msg, "network cbr0", "one", "network extra", "other")
	}
}

// A manifest that cannot be read fails every ADD, and is on this node's disk.
func TestNetnsStatusReadsTheManifests(t *testing.T) {
	for name, broken := range map[string]string{
		"no YAML":               "{",
		"no object":             "a: b",
		"two of a name":         "apiVersion: v1\nkind: Pod\nmetadata: {name: twice}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: twice}\n",
		"a network of no shape": `{"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "n"}, "spec": "bridge"}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			n.Pod("c1", nil)
			n.WriteFile(n.Manifests+"/broken.yaml", broken)
			check.Contains(t, "error", status(n, gcConf(n, nil)).Fails(50).Msg, n.Manifests+"/broken.yaml")
			call(n, "ADD", n.Sandbox("c1"), gcConf(n, nil)).Fails(7)
			check.Must(t, os.Remove(n.Manifests+"/broken.yaml"))
			status(n, gcConf(n, nil)).OK()
		})
	}
}

// mount mounts a tmpfs of the options on a folder, which it makes.
func mount(n *node.Node, dir, options string, flags uintptr) {
	n.Do(func() error {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return unix.Mount("disk", dir, "tmpfs", flags, options)
	})
}

// A disk on which nothing can be noted fails every ADD. STATUS says so, and leaves nothing on it.
func TestNetnsStatusOfTheDisk(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(n *node.Node)
		dir   string // of the configuration, if not the usual one
		names []string
	}{
		"a file":                       {func(n *node.Node) { n.WriteFile(n.CNIDir, "") }, "", []string{"CNIDIR: is not a folder"}},
		"the folder of a file":         {func(n *node.Node) { n.WriteFile(n.CNIDir, "") }, "CNIDIR/deep/er", []string{"CNIDIR: is not a folder"}},
		"the journal is a file":        {func(n *node.Node) { n.WriteFile(n.CNIDir+"/plexus", "") }, "", []string{"CNIDIR/plexus: is not a folder"}},
		"the cache is a file":          {func(n *node.Node) { n.WriteFile(n.CNIDir+"/results", "") }, "", []string{"CNIDIR/results: is not a folder"}},
		"a link to nothing":            {func(n *node.Node) { n.Run("ln", "-s", "/nothing", n.CNIDir) }, "", []string{"CNIDIR: is a link to what is not there"}},
		"read-only":                    {func(n *node.Node) { mount(n, n.CNIDir, "", unix.MS_RDONLY) }, "", []string{"CNIDIR: read-only file system"}},
		"the cache alone is read-only": {func(n *node.Node) { mount(n, n.CNIDir+"/results", "", unix.MS_RDONLY) }, "", []string{"CNIDIR/results: read-only file system"}},
		"full": {func(n *node.Node) {
			mount(n, n.CNIDir, "size=64k", 0)
			_, _ = n.Try("dd", "if=/dev/zero", "of="+n.CNIDir+"/much", "bs=4096")
		}, "", []string{"CNIDIR: no file can be written", "no space left"}},
		"without an inode": {func(n *node.Node) { mount(n, n.CNIDir, "nr_inodes=1", 0) }, "", []string{"CNIDIR: no file can be written", "no space left"}},
		"no disk":          {func(*node.Node) {}, "/proc/cni", []string{"/proc: no file can be written"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			n.Pod("c1", nil)
			c.spoil(n)
			conf := gcConf(n, nil)
			if c.dir != "" {
				conf = conf.With(node.Conf{"cniDir": strings.ReplaceAll(c.dir, "CNIDIR", n.CNIDir)})
			}
			before := n.Leftovers()
			failure := status(n, conf).Fails(50)
			for _, name := range append([]string{"cniDir: "}, c.names...) {
				check.Contains(t, "error", failure.Msg, strings.ReplaceAll(name, "CNIDIR", n.CNIDir))
			}
			check.Equal(t, "files", n.Leftovers(), before)
			if o := call(n, "ADD", n.Sandbox("c1"), conf); o.ExitCode == 0 {
				t.Error("an ADD succeeds all the same")
			}
		})
	}
}

// A disk with little room is tried, and found good.
func TestNetnsStatusOfASmallDisk(t *testing.T) {
	for name, options := range map[string]string{"few blocks": "size=256k", "few inodes": "nr_inodes=20", "no limit": "size=0"} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			n.Pod("c1", nil)
			mount(n, n.CNIDir, options, 0)
			status(n, gcConf(n, nil)).OK()
			check.Equal(t, "files", n.Leftovers(), []string{})
			n.Add(n.Sandbox("c1"), gcConf(n, nil))
		})
	}
}

// What is on a file system that executes nothing is no plugin, whatever its mode.
func TestNetnsStatusOfPluginsThatCannotRun(t *testing.T) {
	n := gcNode(t)
	n.Pod("c1", nil)
	n.Do(func() error {
		if err := unix.Mount(n.PluginDir, n.PluginDir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Mount("", n.PluginDir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOEXEC, "")
	})
	old := in110(node.ClusterBridge()).With(node.Conf{"cniVersion": "1.0.0"}) // knows no STATUS of its own
	conf := gcConf(n, node.Conf{"delegates": []node.Conf{old}})
	check.Contains(t, "error", status(n, conf).Fails(50).Msg, "network cbr0", "plugins[0].type", filepath.Join(n.PluginDir, "bridge"), "noexec")
	call(n, "ADD", n.Sandbox("c1"), conf).Fails(7)
}
