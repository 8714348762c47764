package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// leadTo makes the path of a sandbox, whose namespace goes, lead to another namespace,
// as /proc/PID/ns/net does once the number is another process's.
func leadTo(n *node.Node, pod *node.Sandbox, other string) {
	pod.Destroy(true)
	n.Do(func() error { return unix.Mount(other, pod.Path, "", unix.MS_BIND, "") })
}

func TestNetnsDelByThePathOfAnotherPod(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	conf := n.Conf(nil)
	pods := attached(n, conf, "c1", "c2")
	interfaces := pods[1].Interfaces()
	leadTo(n, pods[0], pods[1].Path)
	n.Del(pods[0], conf)
	check.Equal(t, "interfaces of the other pod", pods[1].Interfaces(), interfaces)
	check.Equal(t, "records", n.Records(), []string{"c2@cluster@eth0.jsonl"})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}, "mac": {"10.2.0.3"}})
	n.Check(pods[1], conf)
	n.Del(pods[1], conf)
	n.MustBeClean()
}

func TestNetnsDelByThePathOfTheHost(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{"recorded": nil, "damaged": damages["garbage"]} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			conf := n.Conf(nil)
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			n.Add(pod, conf)
			if damage != nil {
				damageRecord(t, n, pod, damage)
			}
			n.Uplink("eth0") // the host's own
			leadTo(n, pod, "/proc/thread-self/ns/net")
			n.Del(pod, conf)
			n.Run("ip", "link", "show", "eth0")
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
			check.Equal(t, "records", slices.DeleteFunc(n.Records(), func(name string) bool { return strings.HasSuffix(name, ".corrupt") }), []string{})
		})
	}
}

// Without a readable record too, a path that leads to another pod by now is left alone.
func TestNetnsDelByThePathOfAnotherPodWithoutRecord(t *testing.T) {
	for _, what := range []string{"damaged", "none"} {
		t.Run(what, func(t *testing.T) {
			n := node.New(t)
			conf := n.Conf(nil)
			n.Pod("c1", nil)
			n.Pod("c2", nil)
			mine, other := n.Sandbox("c1"), n.Sandbox("c2")
			for _, s := range []*node.Sandbox{mine, other} {
				n.Call(node.Call{Command: "ADD", Sandbox: s, Config: conf}).OK()
			}
			damageRecord(t, n, mine, damages["garbage"])
			if what == "none" {
				if err := os.Remove(n.RecordPath(mine)); err != nil {
					t.Fatal(err)
				}
			}
			leadTo(n, mine, other.Path)
			n.Call(node.Call{Command: "DEL", Sandbox: mine, Config: conf}).OK()
			check.Equal(t, "interfaces of the other", other.InterfaceNames(), []string{"eth0"})
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}})
		})
	}
}
