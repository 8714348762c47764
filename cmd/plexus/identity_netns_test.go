package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// successor ends a sandbox's namespace, and gives container c2 the next one, at its path. The
// record says that it has the old one's inode. On a quiet machine the kernel gives it at once;
// here other tests may have taken it.
func successor(t *testing.T, n *node.Node, pod *node.Sandbox) *node.Sandbox {
	t.Helper()
	record := n.Record(pod)
	pod.Destroy()
	next := n.Sandbox(pod.ID)
	var inode uint64
	n.Do(func() error {
		inode, _ = host.NetNS(next.Path)
		return nil
	})
	field := `"netnsInode":%d,`
	was, is := fmt.Sprintf(field, record.NetNSInode), fmt.Sprintf(field, inode)
	text := n.ReadFile(n.RecordPath(pod))
	check.Contains(t, "record", text, was)
	n.WriteFile(n.RecordPath(pod), strings.Replace(text, was, is, 1))
	n.Pod("c2", nil)
	next.ID, next.PodName = "c2", "c2"
	return next
}

// The next sandbox may come at the same path, with the same inode: what is done for the old
// one does not touch it.
func TestNetnsSuccessorOfTheSameInode(t *testing.T) {
	path, none := func(pod *node.Sandbox) *string { return &pod.Path }, func(*node.Sandbox) *string { return new(string) }
	sameByAnotherName := func(pod *node.Sandbox) *string {
		name := "/proc/self/root" + pod.Path
		return &name
	}
	for name, tc := range map[string]struct {
		netns   func(*node.Sandbox) *string
		prepare func(t *testing.T, n *node.Node, old *node.Sandbox)
	}{
		"DEL without a namespace": {none, nil},
		"DEL by the path":         {path, nil},
		"DEL by another path":     {sameByAnotherName, nil},
		"DEL by the path, with a damaged record": {path, func(t *testing.T, n *node.Node, old *node.Sandbox) {
			damageRecord(t, n, old, damages["garbage"])
		}},
		"DEL by the path, without a record": {path, func(t *testing.T, n *node.Node, old *node.Sandbox) {
			check.Must(t, os.Remove(n.RecordPath(old)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			conf := n.Conf(nil)
			n.Pod("c1", nil)
			old := n.Sandbox("c1")
			n.Add(old, conf)
			next := successor(t, n, old)
			stale := n.ReadFile(n.RecordPath(old))
			n.Add(next, conf)
			n.WriteFile(n.RecordPath(old), stale) // as if no call had found that it is dead
			if tc.prepare != nil {
				tc.prepare(t, n, old)
			}
			interfaces := next.Interfaces()
			n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: old, NetNS: tc.netns(old)}).OK()
			check.Equal(t, "interfaces of the next", next.Interfaces(), interfaces)
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}})
			n.Check(next, conf)
			n.Del(next, conf)
			check.Equal(t, "interfaces after its own DEL", next.InterfaceNames(), []string{})
		})
	}
}

// No DEL of the old one need come: any call finds that its namespace is gone.
func TestNetnsSuccessorOfADeadSandbox(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	old := n.Sandbox("c1")
	n.Add(old, conf)
	next := successor(t, n, old)
	n.Add(next, conf)
	check.Equal(t, "records", n.Records(), []string{"c2@cluster@eth0.jsonl"})
	check.Equal(t, "interfaces of the next", next.InterfaceNames(), []string{"eth0"})
	n.Del(next, conf)
	n.MustBeClean()
}

// A sandbox without a record, whose namespace has the inode that a dead record names, is not
// taken for another's: its own interface goes.
func TestNetnsSuccessorWithoutARecord(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	old := n.Sandbox("c1")
	n.Add(old, conf)
	next := successor(t, n, old)
	stale := n.ReadFile(n.RecordPath(old))
	n.Add(next, conf)
	check.Must(t, os.Remove(n.RecordPath(next)))
	n.WriteFile(n.RecordPath(old), stale)
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: next}).OK()
	check.Equal(t, "interfaces", next.InterfaceNames(), []string{})
	n.MustBeClean()
}

// Of a record that an older version wrote, and on an older kernel, the inode is all that is
// known: the sandbox lives as long as it is there.
func TestNetnsRecordWithoutACookie(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	n.Pod("c2", nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	n.Add(pod, conf)
	record := n.Record(pod)
	text := n.ReadFile(n.RecordPath(pod))
	for _, field := range []string{
		fmt.Sprintf(`"netnsChanged":%d,`, record.NetNSChanged), fmt.Sprintf(`"netnsCookie":%d,`, record.NetNSCookie),
		fmt.Sprintf(`"mountnsInode":%d,`, record.MountNSInode),
	} {
		check.Contains(t, "record", text, field)
		text = strings.Replace(text, field, "", 1)
	}
	n.WriteFile(n.RecordPath(pod), text)
	n.Add(other, conf)
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0"})
	pod.Destroy()
	n.Del(other, conf)
	n.MustBeClean()
}

// A sandbox without a mount, as cri-dockerd has it: nobody holds the file of the namespace
// open, so that the kernel makes it anew each time.
func TestNetnsSandboxOfAProcess(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	n.Pod("c2", nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	process := exec.Command("nsenter", "--net="+pod.Path, "sh", "-c", "echo; exec sleep 600")
	out, err := process.StdoutPipe()
	check.Must(t, err)
	n.Do(process.Start)
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	_, err = out.Read(make([]byte, 1)) // it is inside
	check.Must(t, err)
	pod.Destroy()
	pod.Path = fmt.Sprintf("/proc/%d/ns/net", process.Process.Pid)
	n.Add(pod, conf)
	n.Add(other, conf)
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl", "c2@cluster@eth0.jsonl"})
	n.Check(pod, conf)
	n.Del(pod, conf)
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.3"}})
	n.Del(other, conf)
	n.MustBeClean()
}

// runNetNS moves a sandbox to the folder where runtimes mount namespaces.
func runNetNS(n *node.Node, pod *node.Sandbox) {
	path := "/run/netns/" + pod.ID
	n.Run("sh", "-c", fmt.Sprintf("mkdir -p /run/netns && touch %s && mount --bind %s %s && umount -l %s && rm %s", path, pod.Path, path, pod.Path, pod.Path))
	pod.Path = path
}

// inMountNS gives an executable that makes a mount namespace, changes it, and is plexus.
func inMountNS(n *node.Node, change string) string {
	path := n.Path("elsewhere")
	n.WriteFile(path, fmt.Sprintf("#!/bin/sh\nunshare -m --propagation private sh -c '%s && exec %s'\nexit $?\n", change, filepath.Join(n.Bin, "plexus")))
	n.Run("chmod", "755", path)
	return path
}

// A call from a mount namespace that does not see another's sandboxes releases none of them.
func TestNetnsCallFromAnotherMountNamespace(t *testing.T) {
	for name, change := range map[string]string{
		"a /run of its own":          "mount -t tmpfs tmpfs /run",
		"an empty folder":            "mount -t tmpfs tmpfs /run/netns",
		"a file without the mount":   "umount /run/netns/c1",
		"another namespace is there": "umount /run/netns/c1 && mount --bind /run/netns/c3 /run/netns/c1",
	} {
		for _, command := range []string{"ADD", "DEL", "GC"} {
			t.Run(name+"/"+command, func(t *testing.T) {
				n := node.New(t)
				n.Pod("c1", nil)
				n.Pod("c2", nil)
				living, other, third := n.Sandbox("c1"), n.Sandbox("c2"), n.Sandbox("c3")
				runNetNS(n, living)
				runNetNS(n, third)
				n.Add(living, n.Conf(nil))
				interfaces, left := living.Interfaces(), n.Reservations()
				conf := n.Conf(node.Conf{"cniVersion": "1.1.0", "name": "another", "cni.dev/valid-attachments": []node.Conf{}})
				n.Call(node.Call{Command: command, Config: conf, Sandbox: other, Plugin: inMountNS(n, change)}).OK()
				n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: other, Plugin: inMountNS(n, change)}).OK()
				check.Equal(t, "interfaces", living.Interfaces(), interfaces)
				check.Equal(t, "reservations", n.Reservations(), left)
				check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
				n.Check(living, n.Conf(nil))
				living.Destroy()
				n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: other, Plugin: inMountNS(n, "true")}).OK()
				n.MustBeClean() // from elsewhere too it is seen that it is gone
			})
		}
	}
}

// A second runtime with mounts of its own: what it made lives, though nobody else sees it.
func TestNetnsSandboxInAnotherMountNamespace(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	n.Pod("c2", nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	runtime := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "mount -t tmpfs tmpfs /run && mkdir /run/netns && touch /run/netns/c1 && mount --bind "+pod.Path+" /run/netns/c1 && echo && exec sleep 600")
	out, err := runtime.StdoutPipe()
	check.Must(t, err)
	n.Do(runtime.Start)
	t.Cleanup(func() {
		_ = runtime.Process.Kill()
		_ = runtime.Wait()
	})
	_, err = out.Read(make([]byte, 1)) // it has mounted
	check.Must(t, err)
	n.Run("mkdir", "/run/netns")
	path := n.Path("second")
	n.WriteFile(path, fmt.Sprintf("#!/bin/sh\nexec nsenter --mount=/proc/%d/ns/mnt %s\n", runtime.Process.Pid, filepath.Join(n.Bin, "plexus")))
	n.Run("chmod", "755", path)
	netns := "/run/netns/c1"
	n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod, Plugin: path, NetNS: &netns}).OK()
	n.Add(other, conf)
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl", "c2@cluster@eth0.jsonl"})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0"})
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod, Plugin: path, NetNS: &netns}).OK()
	n.Del(other, conf)
	n.MustBeClean()
}

// What a GC does not see may be in use: the networks are told of it.
func TestNetnsGCFromAnotherMountNamespace(t *testing.T) {
	n := gcNode(t)
	pod := n.Sandbox("c1")
	n.Pod("c1", nil)
	runNetNS(n, pod)
	n.Add(pod, gcConf(n, nil))
	n.Calls()
	conf := gcConf(n, node.Conf{"name": "another", "cni.dev/valid-attachments": []node.Conf{}})
	n.Call(node.Call{Command: "GC", Config: conf, Plugin: inMountNS(n, "mount -t tmpfs tmpfs /run/netns")}).OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{"cbr0": {"c1/eth0"}})
	n.Del(pod, gcConf(n, nil))
	n.MustBeClean()
}

// A device is not free because its sandbox cannot be seen.
func TestNetnsDeviceOfAHiddenSandbox(t *testing.T) {
	n := newDeviceNode(t, "dev0")
	first, second := n.pod("c1", "first", "dev0"), n.pod("c2", "second", "dev0")
	runNetNS(n.Node, first)
	n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: first}).OK()
	failure := n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second, Plugin: inMountNS(n.Node, "umount /run/netns/c1")}).Fails(11)
	check.Contains(t, "error", failure.Msg, `device "dev0"`, "pod default/first has it, in sandbox c1")
	n.Check(first, n.conf)
	n.Del(first, n.conf)
	n.MustBeClean()
}

// Of a damaged record, libcni's cache has the path alone.
func TestNetnsDamagedRecordOfAHiddenSandbox(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	runNetNS(n, pod)
	n.Add(pod, conf)
	damageRecord(t, n, pod, damages["garbage"])
	past := time.Now().Add(-time.Hour) // a dead one of that age would be released
	check.Must(t, os.Chtimes(n.RecordPath(pod), past, past))
	left := n.Reservations()
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: other, Plugin: inMountNS(n, "mount -t tmpfs tmpfs /run")}).OK()
	check.Equal(t, "reservations", n.Reservations(), left)
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0"})
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod}).OK()
	check.Equal(t, "reservations after its own DEL", n.Reservations(), map[string][]string{})
}

// An ADD again, from where the first one's namespace cannot be seen.
func TestNetnsAddBesideAHiddenOne(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	pod, second := n.Sandbox("c1"), n.Sandbox("c2")
	runNetNS(n, pod)
	n.Add(pod, conf)
	failure := n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod, NetNS: &second.Path, Plugin: inMountNS(n, "umount /run/netns/c1")}).Fails(100)
	check.Contains(t, "error", failure.Msg, "is attached already")
	n.Check(pod, conf)
	n.Del(pod, conf)
	n.MustBeClean()
}

// A DEL may give another path than the ADD did. What it leads to is touched only if it is the
// recorded namespace.
func TestNetnsDelByAnotherPath(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	pod, foreign := n.Sandbox("c1"), n.Sandbox("foreign")
	n.Add(pod, conf)
	n.Run("nsenter", "--net="+foreign.Path, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x0")
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod, NetNS: &foreign.Path}).OK()
	check.Equal(t, "interfaces of another namespace", foreign.InterfaceNames(), []string{"eth0", "x0"})
	check.Equal(t, "interfaces of the pod", pod.InterfaceNames(), []string{})
	n.Add(pod, conf)
	same := "/proc/self/root" + pod.Path
	n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod, NetNS: &same}).OK()
	check.Equal(t, "interfaces of the pod, by another path", pod.InterfaceNames(), []string{})
	n.MustBeClean()
}

// The recorded path may be gone while the namespace lives on at another.
func TestNetnsDelByAnotherPathOfAHiddenOne(t *testing.T) {
	n := node.New(t)
	conf := n.Conf(nil)
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	n.Add(pod, conf)
	runNetNS(n, pod)
	n.Del(pod, conf)
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	n.MustBeClean()
}
