package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// What reviews have found, each as it showed itself to a runtime.

// A container of podman has two networks of plexus, whose interfaces must not meet: the
// undo of the second would take the first's away.
func TestNetnsInterfaceOfTheOtherRecordIsRefused(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	first := n.Conf(nil)
	second := n.Conf(node.Conf{"name": "other", "delegates": []node.Conf{node.Bridge("br8", "10.8.0.0/16"), node.Bridge("br9", "10.9.0.0/16")}})
	add(n, pod, first)
	interfaces, files := pod.Interfaces(), n.Leftovers()
	n.Calls()
	failure := n.Call(node.Call{Command: "ADD", Config: second, Sandbox: pod, IfName: "eth1"}).Fails(7)
	contains(t, "error", failure.Msg, "default/c1", "network br9", `interface: "net0" is taken`)
	equal(t, "calls", n.CallNames(), []string{})
	equal(t, "interfaces", pod.Interfaces(), interfaces)
	equal(t, "files", n.Leftovers(), files)
	n.Call(node.Call{Command: "DEL", Config: second, Sandbox: pod, IfName: "eth1"}).OK()
	equal(t, "interfaces after its DEL", pod.Interfaces(), interfaces)
	check(n, pod, first)
	del(n, pod, first)
	n.MustBeClean()
}

// process is what a plugin left running, by the number that it wrote to a file.
type process struct {
	t    *testing.T
	proc string
}

func leftRunning(t *testing.T, n *node.Node, path string) *process {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(n.ReadFile(path)))
	if err != nil || pid < 2 {
		t.Fatalf("no number of a process: %v", err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	return &process{t, fmt.Sprintf("/proc/%d", pid)}
}

func (p *process) mustLive(when string) {
	p.t.Helper()
	stat, err := os.ReadFile(p.proc + "/stat")
	if err != nil || strings.Contains(string(stat), ") Z") {
		p.t.Errorf("the process is dead %s: %v", when, err)
	}
}

// has tells whether the process has inherited a file.
func (p *process) has(name string) bool {
	links, _ := filepath.Glob(p.proc + "/fd/*")
	return slices.ContainsFunc(links, func(link string) bool {
		target, _ := os.Readlink(link)
		return filepath.Base(target) == name
	})
}

// What a plugin leaves running on purpose, as a DHCP client, keeps nobody waiting and
// is not ended, though it has the descriptor of the lock.
func TestNetnsDaemonOfAPlugin(t *testing.T) {
	for name, start := range map[string]string{"as it is": "", "with a cleared environment": `env -i PATH="$PATH" `} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			n.Plugin("daemon", `[ "$CNI_COMMAND" = ADD ] || exit 0
`+start+`setsid sleep 600 >/dev/null 2>&1 </dev/null &
echo $! >`+n.Path("pid")+`
echo '{"cniVersion": "1.0.0"}'
`)
			conf := n.Conf(node.Conf{"delegates": []node.Conf{node.ClusterBridge(), {"cniVersion": "1.0.0", "name": "d", "type": "daemon"}}})
			add(n, pod, conf)
			daemon := leftRunning(t, n, n.Path("pid"))
			if !daemon.has("c1.lock") {
				t.Error("the process has no descriptor of the lock: this tests nothing")
			}
			daemon.mustLive("after ADD")
			check(n, pod, conf)
			daemon.mustLive("after CHECK")
			del(n, pod, conf)
			daemon.mustLive("after DEL")
			n.MustBeClean()
		})
	}
}

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
	del(n, pods[0], conf)
	equal(t, "interfaces of the other pod", pods[1].Interfaces(), interfaces)
	equal(t, "records", n.Records(), []string{"c2@cluster@eth0.jsonl"})
	equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}, "mac": {"10.2.0.3"}})
	check(n, pods[1], conf)
	del(n, pods[1], conf)
	n.MustBeClean()
}

func TestNetnsDelByThePathOfTheHost(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{"recorded": nil, "damaged": damages["garbage"]} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			conf := n.Conf(nil)
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			add(n, pod, conf)
			if damage != nil {
				damageRecord(t, n, pod, damage)
			}
			n.Uplink("eth0") // the host's own
			leadTo(n, pod, "/proc/thread-self/ns/net")
			del(n, pod, conf)
			n.Run("ip", "link", "show", "eth0")
			equal(t, "reservations", n.Reservations(), map[string][]string{})
			equal(t, "records", slices.DeleteFunc(n.Records(), func(name string) bool { return strings.HasSuffix(name, ".corrupt") }), []string{})
		})
	}
}

func TestNetnsTooManyNetworks(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	n.Network("a", node.Conf{"cniVersion": "1.0.0", "type": "/no/such/plugin"})
	n.PodWith("c1", strings.Repeat("a,", 19999)+"a")
	o := call(n, "ADD", n.Sandbox("c1"), n.Conf(nil))
	contains(t, "error", o.Fails(7).Msg, "default/c1", types.AnnotationNetworks, "20000 networks", "at most 128")
	if size := len(o.Stdout) + len(o.Stderr); size > 2000 {
		t.Errorf("%d bytes are printed", size)
	}
	equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}

// No DEL of this sandbox may be given up for the time that the others' would have.
func TestNetnsDeadSandboxOfSlowPlugins(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("macvlan")
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		n.Network(name, node.Macvlan(name, "up0", fmt.Sprintf("10.%d.0.0/16", i+2)))
	}
	n.PodWith("c1", "m0, m1, m2")
	conf := n.Conf(nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	add(n, pod, conf)
	pod.Destroy()
	n.Hook("macvlan", "DEL", "sleep 2") // slow, not stuck
	for range 3 {
		if del(n, other, conf); len(n.Records()) == 0 {
			break
		}
	}
	n.MustBeClean()
}

// The time is shared by what is to be released, not by all that there is.
func TestNetnsGCOfOneAmongMany(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "a1", "b1")
	data, valid := n.ReadFile(n.RecordPath(pods[1])), []string{"b1"}
	for i := range 108 {
		id := fmt.Sprintf("b1-%03d", i)
		valid = append(valid, id)
		n.WriteFile(filepath.Join(n.CNIDir, "plexus", id+"@cluster@eth0.jsonl"), strings.ReplaceAll(data, `"containerID":"b1"`, `"containerID":"`+id+`"`))
	}
	equal(t, "number of records", len(n.Records()), 110)
	n.Hook("macvlan", "DEL", "sleep 1") // slow, not stuck
	gc(n, conf, valid...).OK()
	equal(t, "interfaces", pods[0].InterfaceNames(), []string{})
	equal(t, "number of records", len(n.Records()), 109)
	equal(t, "interfaces of the valid", pods[1].InterfaceNames(), []string{"eth0", "net0"})
}

// Sandboxes that Multus attached, and that the runtime keeps under another network.
func TestNetnsGCSparesLivingSandboxesOfMultus(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			conf := gcConf(n, nil)
			dir := multusDirs(n)[name]
			attached(n, conf, "c1")
			living, dead := n.Sandbox("c3"), n.Sandbox("c4")
			delegates := []node.Conf{node.ClusterBridge(), node.Macvlan("mac", "up0", "10.2.0.0/16")}
			for _, pod := range []*node.Sandbox{living, dead} {
				n.Call(node.Call{
					Plugin: node.Executable(t, "PLEXUS_MULTUS_BIN", "multus"), Command: "ADD", Sandbox: pod,
					Config: multusConf(n, dir).With(node.Conf{"delegates": delegates}),
				}).OK()
			}
			dead.Destroy()
			n.Calls()
			gc(n, conf, "c1").OK()
			equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{
				"cbr0": {"c1/eth0", "c3/eth0"},
				"mac":  {"c1/net0", "c3/net1"},
			})
			equal(t, "interfaces of Multus", living.InterfaceNames(), []string{"eth0", "net1"})
			for network, address := range map[string]string{"cbr0": "10.1.0.3", "mac": "10.2.0.3"} {
				if !slices.Contains(n.Reservations()[network], address) {
					t.Errorf("%s of network %s is not reserved any more", address, network)
				}
			}
			del(n, living, conf)
			equal(t, "interfaces of Multus after its DEL", living.InterfaceNames(), []string{})
		})
	}
}

// A plugin may tell a list that is empty from none.
func TestNetnsGCOfNoAttachmentsTellsAnEmptyList(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	attached(n, conf, "c1")
	n.Calls()
	gc(n, conf).OK()
	lists := map[string]string{}
	for _, c := range n.Calls() {
		if c.Command == "GC" {
			lists[c.Plugin] = string(c.Config["cni.dev/valid-attachments"])
		}
	}
	equal(t, "lists", lists, map[string]string{"bridge": "[]", "macvlan": "[]"})
	n.MustBeClean()
}

// A name of a file has at most 255 bytes, those of the network and of the container
// together may have more.
func TestNetnsDeviceInformationOfLongNames(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("macvlan")
	n.Hook("macvlan", "ADD", `file=$(printf %s "$stdin" | sed -n 's/.*"CNIDeviceInfoFile":"\([^"]*\)".*/\1/p')
mkdir -p "$(dirname "$file")" && printf '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.%s"}}' "${CNI_IFNAME#net}" >"$file" || fail 100 "no $file"`)
	name := strings.TrimSuffix(strings.Repeat(strings.Repeat("n", 46)+".", 5), ".")
	n.Network(name, node.Macvlan("mac", "up0", "10.2.0.0/16").With(node.Conf{"capabilities": node.Conf{"CNIDeviceInfoFile": true}}))
	n.PodWith("c1", name+", "+name)
	pod := n.Sandbox("c1")
	pod.ID = strings.Repeat("c", 64)
	add(n, pod, n.Conf(nil))
	status := statusOf(n, pod)
	for ifName, want := range map[string]string{"net0": "0000:3b:02.0", "net1": "0000:3b:02.1"} {
		if info := status[ifName].DeviceInfo; info == nil || info.PCI == nil || info.PCI.PCIAddress != want {
			t.Errorf("device information of %s: %+v", ifName, info)
		}
	}
	check(n, pod, n.Conf(nil))
	del(n, pod, n.Conf(nil))
	n.MustBeClean()
}

// A machine that lost power has a file of half a result, or of none.
func TestNetnsHalfWrittenCacheIsRestored(t *testing.T) {
	for name, part := range map[string]int{"half": 2, "nothing": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			added := add(n, pod, n.Conf(nil))
			cache := filepath.Join(n.CNIDir, "results", "cbr0-c1-eth0")
			whole := n.ReadFile(cache)
			n.Calls()
			for _, command := range []string{"CHECK", "DEL"} {
				n.WriteFile(cache, whole[:len(whole)/part])
				call(n, command, pod, n.Conf(nil)).OK()
				calls := n.Calls()
				equal(t, "number of calls", len(calls), 1)
				equal(t, "command", calls[0].Command, command)
				if calls[0].Config["prevResult"] == nil {
					t.Fatalf("%s: there is no prevResult", command)
				}
				equal(t, "prevResult", addresses(node.ParseResult(t, calls[0].Config["prevResult"])), addresses(added.Result))
			}
			n.MustBeClean()
		})
	}
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
	add(n, pod, n.Conf(nil))
	damageRecord(t, n, pod, damages["garbage"]) // it has something to log
	n.Call(node.Call{Plugin: closedStderr(n), Command: "DEL", Config: n.Conf(nil), Sandbox: pod}).OK()
	equal(t, "interfaces", pod.InterfaceNames(), []string{})
	equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
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
			contains(t, "error", failure.Msg, "default/c1", n.AgentSocket(), "no facts of this pod")
			equal(t, "calls", n.CallNames(), []string{})
			n.MustBeClean()
		})
	}
}

// A file of Multus that names nothing says nothing of the sandbox.
func TestNetnsDelWithAnEmptyMultusState(t *testing.T) {
	for _, content := range []string{"null", "[]", "[null]", "[{}]"} {
		t.Run(content, func(t *testing.T) {
			n := node.New(t)
			pod := n.Sandbox("c1")
			attachBare(t, n, node.List("cbr0", "1.0.0", node.ClusterBridge()), libcni.CacheDir, bareRuntime(pod, "eth0"))
			state := "/var/lib/cni/multus/c1"
			n.WriteFile(state, content)
			del(n, pod, n.Conf(nil))
			equal(t, "interfaces", pod.InterfaceNames(), []string{})
			equal(t, "files", n.Leftovers(), []string{state})
			equal(t, "the file of Multus", n.ReadFile(state), content)
		})
	}
}

// The default route of another table is where it was, and so says the result.
func TestNetnsDefaultRouteOfAnotherTableStays(t *testing.T) {
	n := node.New(t)
	ipam := node.HostLocal("10.1.0.0/16").With(node.Conf{"routes": []node.Conf{{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 100}}})
	n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	n.PodWith("c1", `[{"name":"second","default-route":["10.3.0.1"]}]`)
	pod := n.Sandbox("c1")
	master := in110(node.Bridge("cbr0", "10.1.0.0/16")).With(node.Conf{"ipam": ipam})
	added := add(n, pod, n.Conf(node.Conf{"cniVersion": "1.1.0", "delegates": []node.Conf{master}}))
	equal(t, "default routes", pod.DefaultRoutes(), []string{"10.3.0.1 dev net0"})
	routes, err := pod.Run("ip", "route", "show", "table", "100")
	contains(t, "table 100", routes, "default via 10.1.0.1 dev eth0")
	equal(t, "error", err, nil)
	said, err := json.Marshal(added.Result.Routes)
	equal(t, "routes of the result", string(said), `[{"dst":"0.0.0.0/0","gw":"10.1.0.1","table":100}]`)
	equal(t, "error", err, nil)
}

// Only the plugin before it gives a plugin a result.
func TestNetnsPrevResultOfADefinitionIsDropped(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge", "macvlan", "tuning")
	n.Uplink("up0")
	forged := node.Conf{"prevResult": node.Conf{"cniVersion": "1.0.0", "ips": []node.Conf{{"address": "192.0.2.9/24"}}}}
	n.Network("single", node.Macvlan("single", "up0", "10.2.0.0/16").With(forged))
	n.Network("list", node.List("list", "1.0.0", node.Bridge("br2", "10.3.0.0/16").With(forged), node.Conf{"type": "tuning"}.With(forged)))
	n.PodWith("c1", "single, list")
	add(n, n.Sandbox("c1"), n.Conf(nil))
	given := map[string][]string{}
	for _, c := range n.Calls() {
		if given[c.String()] = nil; c.Config["prevResult"] != nil {
			given[c.String()] = addresses(node.ParseResult(t, c.Config["prevResult"]))
		}
	}
	equal(t, "results given", given, map[string][]string{
		"ADD bridge eth0": nil, "ADD macvlan net0": nil, "ADD bridge net1": nil, "ADD tuning net1": {"10.3.0.2/16"},
	})
}

// A damaged record is there as long as something is left to release.
func TestNetnsDamagedRecordWhoseReleaseFails(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("macvlan")
	add(n, pod, n.Conf(nil))
	damageRecord(t, n, pod, damages["truncated"])
	n.Hook("macvlan", "DEL", "fail 77 'not now'")
	for range 2 {
		contains(t, "error", call(n, "DEL", pod, n.Conf(nil)).Fails(77).Msg, "default/c1", "not now")
		equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
		equal(t, "interfaces", pod.InterfaceNames(), []string{"net0"})
	}
	n.Hook("macvlan", "DEL", "")
	del(n, pod, n.Conf(nil))
	equal(t, "interfaces", pod.InterfaceNames(), []string{})
	equal(t, "files", n.Leftovers(), []string{n.RecordPath(pod) + ".corrupt"})
}

// Other pods' calls release what no DEL may ever ask for again.
func TestNetnsDamagedRecordOfADeadSandbox(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	conf := n.Conf(nil)
	pods := attached(n, conf, "c1", "c2")
	other := n.Sandbox("c3")
	old := time.Now().Add(-time.Hour)
	for _, pod := range pods {
		damageRecord(t, n, pod, damages["garbage"])
		if err := os.Chtimes(n.RecordPath(pod), old, old); err != nil {
			t.Fatal(err)
		}
	}
	pods[0].Destroy()
	del(n, other, conf)
	equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl.corrupt", "c2@cluster@eth0.jsonl"})
	equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}, "mac": {"10.2.0.3"}})
	equal(t, "interfaces of the living", pods[1].InterfaceNames(), []string{"eth0", "net0"})
}

// Without a readable record too, a path that leads to another pod by now is left alone.
func TestNetnsDelByThePathOfAnotherWithoutRecord(t *testing.T) {
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
			mine.Destroy(true)
			n.Do(func() error { return unix.Mount(other.Path, mine.Path, "", unix.MS_BIND, "") })
			n.Call(node.Call{Command: "DEL", Sandbox: mine, Config: conf}).OK()
			equal(t, "interfaces of the other", other.InterfaceNames(), []string{"eth0"})
			equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}})
		})
	}
}
