//go:build linux

package window

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// leakyNode is a node with a pod that lives, and two whose sandboxes went without a DEL.
type leakyNode struct {
	*nodetest.Node
	lives, leaked, other *nodetest.Sandbox
	config               string
}

func newLeakyNode(t *testing.T) *leakyNode {
	t.Helper()
	n := &leakyNode{Node: nodetest.New(t)}
	n.Uplink("up0")
	n.Network("mac", nodetest.Macvlan("mac", "up0", "10.2.0.0/16"))
	for name, sandbox := range map[string]**nodetest.Sandbox{"lives": &n.lives, "leaked": &n.leaked, "other": &n.other} {
		n.PodWith(name, "mac")
		*sandbox = n.Sandbox(name)
		n.Add(*sandbox, n.Conf(nil)).OK()
	}
	n.leaked.Destroy()
	n.other.Destroy()
	n.config = n.Path("plexus.conf")
	n.WriteFile(n.config, n.Conf(nodetest.Conf{"binDir": n.CNIBin}).String())
	return n
}

func (n *leakyNode) run(args ...string) (string, error) {
	return n.Try(filepath.Join(n.Bin, program), append(args, "--config", n.config)...)
}

// journal gives the content of the journal's files by name.
func (n *leakyNode) journal(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(n.CNIDir, "plexus"))
	check.Must(t, err)
	for _, entry := range entries {
		files[entry.Name()] = n.ReadFile(filepath.Join(n.CNIDir, "plexus", entry.Name()))
	}
	return files
}

// gc frees what sandboxes that are gone have left, and nothing else.
func TestNetnsGC(t *testing.T) {
	n := newLeakyNode(t)
	before, reserved := n.journal(t), n.Reservations()
	check.Equal(t, "reservations", len(reserved["mac"]), 3)
	out, err := n.run("gc", "--dry-run")
	check.Error(t, err, "exit status 1")
	check.Contains(t, "what is stale", out, "pod default/leaked, sandbox leaked: its network namespace "+n.leaked.Path+" is gone",
		"default/mac, net0: would be released", "pod default/other")
	check.Equal(t, "journal after a dry run", n.journal(t), before)
	check.Equal(t, "reservations after a dry run", n.Reservations(), reserved)

	out, err = n.run("gc", "-o", "json")
	check.Must(t, err)
	var list inspect.ReleaseList
	check.Must(t, json.Unmarshal([]byte(out), &list))
	check.Equal(t, "records", len(list.Items), 2)
	check.Equal(t, "attachments", list.Items[0].Attachments, []inspect.ReleasedNetwork{
		{Network: "default/mac", Interface: "net0", Released: true}, {Network: "cbr0", Interface: "eth0", Released: true},
	})
	check.Equal(t, "records that are left", n.Records(), []string{"lives@cluster@eth0.jsonl"})
	check.Equal(t, "addresses that are left", len(n.Reservations()["mac"])+len(n.Reservations()["cbr0"]), 2)
	check.Must(t, n.lives.Ping("10.1.0.1"))

	out, err = n.run("gc")
	check.Must(t, err)
	check.Contains(t, "a clean node", out, "Nothing is stale")
	n.Del(n.lives, n.Conf(nil))
	n.MustBeClean()
}

// release frees one sandbox, by the beginning of its ID, and one that lives only by force.
func TestNetnsRelease(t *testing.T) {
	n := newLeakyNode(t)
	out, err := n.run("release", "leak")
	check.Must(t, err)
	check.Contains(t, "output", out, "pod default/leaked, sandbox leaked", "default/mac, net0: released", "cbr0, eth0: released")
	check.Equal(t, "records", len(n.Records()), 2)

	before := n.journal(t)
	out, err = n.run("release", "lives")
	check.Error(t, err, "exit status 1")
	check.Contains(t, "a live sandbox", out, "the sandbox may still be there", "let the runtime end it, or give --force")
	check.Equal(t, "journal", n.journal(t), before)
	out, err = n.run("release", "nobody")
	check.Error(t, err, "exit status 3")
	check.Contains(t, "no sandbox", out, "has no sandbox nobody")

	_, err = n.run("release", "lives", "--force")
	check.Must(t, err)
	check.Equal(t, "interfaces of the sandbox", n.lives.InterfaceNames(), []string{})
	_, err = n.run("gc")
	check.Must(t, err)
	n.MustBeClean()
}

// What a plugin does not release stays recorded; the error names pod, network and plugin.
func TestNetnsGCThatFails(t *testing.T) {
	n := newLeakyNode(t)
	n.WriteFile(n.config, n.Conf(nodetest.Conf{"binDir": n.PluginDir}).String())
	out, err := n.run("gc")
	check.Error(t, err, "exit status 1")
	check.Contains(t, "output", out, "default/mac, net0: NOT RELEASED", "error: pod default/leaked: ", "detach network default/mac from net0: ", `plugin type="macvlan"`)
	check.Equal(t, "records", len(n.Records()), 3)
}

// A machine on which Plexus attached nothing has nothing to judge: that is no "nothing is stale".
func TestNetnsGCWithoutJournal(t *testing.T) {
	n := &leakyNode{Node: nodetest.New(t)}
	n.config = n.Path("plexus.conf")
	n.WriteFile(n.config, n.Conf(nodetest.Conf{"binDir": n.CNIBin}).String())
	for _, args := range [][]string{{"gc"}, {"gc", "--dry-run"}, {"release", "4f1d"}} {
		out, err := n.run(args...)
		check.Error(t, err, "exit status 3")
		check.Contains(t, args[0], out+err.Error(), "this machine has no journal in "+n.CNIDir+"/plexus")
	}
}
