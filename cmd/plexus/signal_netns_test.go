package main

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// mustNameSignal demands an error that says which signal ended the call, and that speaks of no
// time that was over.
func mustNameSignal(t *testing.T, msg, signal string, words ...string) {
	t.Helper()
	check.Contains(t, "error", msg, append(words, "the call was ended by a signal ("+signal+")")...)
	if strings.Contains(msg, "did not end within") || strings.Contains(msg, "no time left") {
		t.Errorf("error: %s", msg)
	}
}

// Whoever ends a call reads that it was ended, not that a plugin was too slow.
func TestNetnsSignalWhileAPluginRuns(t *testing.T) {
	for _, c := range []struct {
		command, signal string
		number          syscall.Signal
	}{{"ADD", "SIGTERM", unix.SIGTERM}, {"ADD", "SIGINT", unix.SIGINT}, {"DEL", "SIGTERM", unix.SIGTERM}, {"CHECK", "SIGINT", unix.SIGINT}} {
		t.Run(c.command+" "+c.signal, func(t *testing.T) {
			n, pod := threeNetworks(t)
			n.Wrap("bridge")
			conf := n.Conf(nil)
			if c.command != "ADD" {
				n.Add(pod, conf)
			}
			n.Run("mkfifo", n.Path("started"), n.Path("never"))
			n.Hook("bridge", c.command, `[ "$CNI_IFNAME" != net1 ] || { echo >'`+n.Path("started")+`'; read x <'`+n.Path("never")+`'; }`)
			running := n.Start(node.Call{Command: c.command, Config: conf, Sandbox: pod})
			n.ReadFile(n.Path("started"))
			running.Signal(c.number)
			mustNameSignal(t, running.Wait().Fails(100).Msg, c.signal, "pod default/c1", "network default/second", "plugin bridge ("+c.command+")", "was killed with everything it started after")
			n.Hook("bridge", c.command, "")
			if c.command == "ADD" {
				n.MustBeClean()
			}
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

// An agent that is waited for has no fault then.
func TestNetnsSignalWhileTheAgentIsAsked(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	asked := make(chan bool, 9)
	n.Agent(func(conn net.Conn, request *types.Request) {
		if request.Facts != nil {
			asked <- true
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	running := n.Start(node.Call{Command: "ADD", Config: n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()}), Sandbox: n.Sandbox("c1")})
	<-asked
	running.Signal(unix.SIGTERM)
	mustNameSignal(t, running.Wait().Fails(11).Msg, "SIGTERM", "pod default/c1", "agent")
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}
