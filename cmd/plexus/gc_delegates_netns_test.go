package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What lives is known from the records, also where libcni's cache is lost.
func TestNetnsGCWithoutACache(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	if err := os.RemoveAll(filepath.Join(n.CNIDir, "results")); err != nil {
		t.Fatal(err)
	}
	n.Calls()
	gc(n, conf, "c1").OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{"cbr0": {"c1/eth0"}, "mac": {"c1/net0"}})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.2"}, "mac": {"10.2.0.2"}})
	check.Equal(t, "interfaces of the invalid", pods[1].InterfaceNames(), []string{})
	n.Del(pods[0], conf)
	n.MustBeClean()
}

// The GC of one network that fails, the first of them, keeps no other from its own.
func TestNetnsGCOfEveryNetwork(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pod := attached(n, conf, "c1")[0]
	n.Hook("bridge", "GC", "fail 78 'not now'")
	n.Calls()
	check.Contains(t, "error", gc(n, conf, "c1").Fails(100).Msg, "network cbr0", "not now")
	var asked []string
	for _, c := range n.Calls() {
		if c.Command == "GC" {
			asked = append(asked, c.Plugin)
		}
	}
	slices.Sort(asked)
	check.Equal(t, "plugins whose GC ran", asked, []string{"bridge", "macvlan"})
	n.Hook("bridge", "GC", "")
	n.Del(pod, conf)
	n.MustBeClean()
}
