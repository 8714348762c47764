package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

func TestNetnsPlexusAsItsOwnDelegateIsRefused(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	plexus := filepath.Join(n.Bin, "plexus")
	if err := os.Symlink(plexus, filepath.Join(n.PluginDir, "meta")); err != nil {
		t.Fatal(err)
	}
	loop := n.Conf(node.Conf{"name": "loop", "type": "meta"})
	asIPAM := node.Bridge("br9").With(node.Conf{"ipam": node.Conf{"type": "meta"}})
	for name, c := range map[string]struct {
		conf     node.Conf
		networks string
		names    []string
	}{
		"default network":   {node.Conf{"delegates": []node.Conf{loop}}, "", []string{"network loop", "type"}},
		"selected network":  {nil, "loop", []string{"network default/loop", "type"}},
		"chained":           {nil, "chained", []string{"network default/chained", "plugins[1].type"}},
		"IPAM":              {nil, "asipam", []string{"network default/asipam", "ipam.type"}},
		"all, so all named": {nil, "loop, chained", []string{"network default/loop", "network default/chained"}},
	} {
		t.Run(name, func(t *testing.T) {
			n.Network("loop", loop)
			n.Network("chained", node.List("chained", "1.0.0", node.Bridge("br9", "10.9.0.0/16"), loop))
			n.Network("asipam", asIPAM)
			n.PodWith("c1", c.networks)
			failure := call(n, "ADD", pod, n.Conf(c.conf)).Fails(7)
			check.Contains(t, "error", failure.Msg, append(c.names, "pod default/c1", `plugin "meta"`, "is plexus itself")...)
		})
	}
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}

// Another build of plexus is not the same file: it stops itself, and the pod can be
// released after.
func TestNetnsAnotherBuildOfPlexusAsDelegateIsStopped(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Run("cp", filepath.Join(n.Bin, "plexus"), filepath.Join(n.PluginDir, "meta"))
	n.Network("loop", n.Conf(node.Conf{"name": "loop", "type": "meta"}))
	n.PodWith("c1", "mac, loop")
	failure := call(n, "ADD", pod, n.Conf(nil)).Fails(7)
	check.Contains(t, "error", failure.Msg, "default/c1", "network default/loop", "plugin meta", "called by one of its own delegates (container c1)")
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func TestNetnsUsage(t *testing.T) {
	n := node.New(t)
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--version"}, 0, "plexus ", ""},
		{[]string{"--help"}, 0, "container runtime calls it, people do not", ""},
		{[]string{"--nonsense"}, 2, "", `unknown argument "--nonsense"`},
		{nil, 0, "", "plexus --help"},
	} {
		var stdout, stderr []byte
		cmd := exec.Command(filepath.Join(n.Bin, "plexus"), c.args...)
		cmd.Env = []string{}
		stderrPipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdoutPipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdout, _ = io.ReadAll(stdoutPipe)
		stderr, _ = io.ReadAll(stderrPipe)
		_ = cmd.Wait()
		check.Equal(t, "exit code", cmd.ProcessState.ExitCode(), c.code)
		check.Contains(t, "stdout", string(stdout), c.stdout)
		check.Contains(t, "stderr", string(stderr), c.stderr)
		if c.stdout == "" {
			check.Equal(t, "stdout", string(stdout), "")
		}
	}
}

func TestNetnsInvalidConfigurationNamesTheKey(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge")
	for key, value := range map[string]any{
		"delegates": "none", "cniDir": "relative/path", "addTimeout": 90, "delegateTimeout": "a while", "result": "some",
		"firstInterfaceIndex": -1, "allowedPlugins": []string{"bridge"}, "readinessindicatorfile": 1,
		"manifests": "relative", "agentSocket": 5, "globalNamespaces": []string{"default"}, "systemNamespaces": "kube-system",
	} {
		for _, command := range []string{"ADD", "DEL"} {
			failure := call(n, command, pod, n.Conf(node.Conf{key: value})).Fails(7)
			check.Contains(t, "error", failure.Msg, key)
		}
	}
	check.Equal(t, "calls", n.CallNames(), []string{})
	for _, text := range []string{"", "{", "[]", "null", "\xff"} {
		o := call(n, "ADD", pod, node.Raw(text))
		if o.ExitCode != 1 || o.Err.Code == 0 || o.Err.Msg == "" {
			t.Errorf("%q: want a CNI error, got exit code %d: %s", text, o.ExitCode, o.Stdout)
		}
	}
	n.MustBeClean()
}

// Where there is no source at all, the node's own networks are attached and no others.
func TestNetnsNoSourceAtAll(t *testing.T) {
	n := node.New(t)
	n.WriteFile(filepath.Join(n.ConfDir, "10-more.conf"), node.Bridge("br2", "10.3.0.0/16").With(node.Conf{"name": "more"}).String())
	pod := n.Sandbox("c1")
	conf := n.Conf(node.Conf{"manifests": nil, "defaultNetworks": []string{"more"}})
	n.Add(pod, conf)
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0"})
	n.Del(pod, conf)
	n.MustBeClean()
}

// noAnswer are agents that do not answer as agents do.
var noAnswer = map[string]func(net.Conn, *types.Request){
	"hangs":       func(conn net.Conn, _ *types.Request) { _, _ = io.Copy(io.Discard, conn) },
	"hangs up":    func(net.Conn, *types.Request) {},
	"dies in it":  func(conn net.Conn, _ *types.Request) { _, _ = io.WriteString(conn, `{"version":1,"facts":{"pod":`) },
	"garbage":     func(conn net.Conn, _ *types.Request) { _, _ = io.WriteString(conn, "who is there?\n") },
	"another":     func(conn net.Conn, _ *types.Request) { _, _ = io.WriteString(conn, `{"version":99,"facts":{}}`+"\n") },
	"no facts":    func(conn net.Conn, _ *types.Request) { _, _ = io.WriteString(conn, `{"version":1}`+"\n") },
	"later":       func(conn net.Conn, _ *types.Request) { answerError(conn, types.CodeTryAgainLater) },
	"not running": nil,
}

func answerError(conn net.Conn, code uint) {
	_ = rpc.NewConn(conn).Send(&types.Response{Version: types.WireVersion, Error: &types.WireError{Code: code, Message: "the agent says no"}})
}

func TestNetnsAgentThatDoesNotAnswer(t *testing.T) {
	for name, answer := range noAnswer {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			if answer != nil {
				n.Agent(answer)
			}
			conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket(), "addTimeout": "2s"})
			pod := n.Sandbox("c1")
			check.Contains(t, "error", call(n, "ADD", pod, conf).Fails(11).Msg, "agent")
			check.Equal(t, "calls", n.CallNames(), []string{})
			n.MustBeClean()
			n.Del(pod, conf) // needs no agent
			n.MustBeClean()
		})
	}
}

// With a kubeconfig, whoever knows instead is asked: here its complaint shows it.
func TestNetnsAgentThatDoesNotAnswerIsFallenBackFrom(t *testing.T) {
	for name, answer := range noAnswer {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			if answer != nil {
				n.Agent(answer)
			}
			kubeconfig := n.Path("kubeconfig")
			conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket(), "kubeconfig": kubeconfig})
			failure := call(n, "ADD", n.Sandbox("c1"), conf)
			if failure.ExitCode != 1 {
				t.Fatalf("it succeeded: %s", failure.Stdout)
			}
			check.Contains(t, "error", failure.Err.Msg, kubeconfig)
			check.Equal(t, "calls", n.CallNames(), []string{})
			n.MustBeClean()
		})
	}
}

// What an agent says of the pod is an answer, and nobody else is asked.
func TestNetnsAgentThatSaysNo(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	n.Agent(func(conn net.Conn, request *types.Request) {
		if request.Facts != nil {
			answerError(conn, 42)
		}
	})
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket(), "kubeconfig": n.Path("kubeconfig")})
	check.Contains(t, "error", call(n, "ADD", n.Sandbox("c1"), conf).Fails(42).Msg, "the agent says no")
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}

func TestNetnsAgentThatAnswersSomethingElse(t *testing.T) {
	for name, answer := range map[string]string{
		"no facts":         `{"version":1}`,
		"empty facts":      `{"version":1,"facts":{}}`,
		"another pod":      `{"version":1,"facts":{"pod":{"namespace":"default","name":"other"}}}`,
		"namesake of it":   `{"version":1,"facts":{"pod":{"namespace":"other","name":"c1"}}}`,
		"a pod of no name": `{"version":1,"facts":{"pod":{"namespace":"default"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			n.Agent(func(conn net.Conn, request *types.Request) {
				if request.Facts != nil {
					fmt.Fprintln(conn, answer)
				}
			})
			failure := call(n, "ADD", n.Sandbox("c1"), n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket(), "addTimeout": "5s"})).Fails(11)
			check.Contains(t, "error", failure.Msg, "default/c1", n.AgentSocket(), "no facts of this pod")
			check.Equal(t, "calls", n.CallNames(), []string{})
			n.MustBeClean()
		})
	}
}

func TestNetnsAgentThatAnswers(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	mac := node.Macvlan("mac", "up0", "10.2.0.0/16")
	agent := n.Agent(node.Facts(t, types.Facts{
		Pod:      podWith("mac"),
		Networks: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "mac"}, Config: mac.String()}},
	}))
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket(), "defaultNetworks": []string{}})
	pod := n.Sandbox("c1")
	added := n.Add(pod, conf)
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0"})
	n.Check(pod, prevResult(conf, added))
	n.Del(pod, conf)
	n.MustBeClean()
	requests := agent.Requests()
	var reported []string
	for _, request := range requests[1:] {
		reported = append(reported, request.Publish.Report.Command)
	}
	check.Equal(t, "calls reported", reported, []string{"ADD", "CHECK", "DEL"})
	check.Equal(t, "pod of the request", requests[0].Facts.Pod, types.Pod{Namespace: "default", Name: "c1"})
	check.Equal(t, "namespace of the request", requests[0].Facts.MultusNamespace, "kube-system")
}

// closedStderr is a plugin that is plexus with nobody at the other end of its stderr.
func closedStderr(n *node.Node) string {
	wrapper := n.Path("closed-stderr")
	n.Run("mkfifo", n.Path("pipe"))
	n.WriteFile(wrapper, `#!/bin/sh
exec 3<>`+n.Path("pipe")+`
exec 2>`+n.Path("pipe")+` 3<&-
exec `+n.Bin+`/plexus
`)
	n.Run("chmod", "755", wrapper)
	return wrapper
}

func TestNetnsClosedStderr(t *testing.T) {
	n := node.New(t)
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	n.Add(pod, n.Conf(nil))
	damageRecord(t, n, pod, damages["garbage"]) // it has something to log
	n.Call(node.Call{Plugin: closedStderr(n), Command: "DEL", Config: n.Conf(nil), Sandbox: pod}).OK()
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}
