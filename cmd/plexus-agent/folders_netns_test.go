package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// mountedNode has a folder of a host that is mounted into a mount namespace, as into a container.
type mountedNode struct{ *installNode }

// start runs plexus-agent in a mount namespace of its own, where a folder of the host is
// mounted at another path, and gives its end.
func (n *mountedNode) start(folder string, args ...string) <-chan error {
	n.t.Helper()
	bin := os.Getenv("PLEXUS_BIN")
	if bin == "" {
		n.t.Skip("PLEXUS_BIN is not set: it names the folder of plexus-agent")
	}
	inside := n.path("inside/" + filepath.Base(folder))
	for _, dir := range []string{inside, folder} { // as a runtime does
		check.Must(n.t, os.MkdirAll(dir, 0o755))
	}
	script := `mount --make-rprivate / && mount --bind "$0" "$1" && shift && exec "$@"`
	cmd := exec.CommandContext(n.t.Context(), "sh", append([]string{"-c", script, folder, inside, filepath.Join(bin, "plexus-agent")}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	log, err := os.Create(n.path("log"))
	check.Must(n.t, err)
	cmd.Stdout, cmd.Stderr = log, log
	check.Must(n.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended
}

// logged demands that the log has words.
func (n *mountedNode) logged(words string) {
	n.t.Helper()
	check.Eventually(n.t, "the log has "+words, 30*time.Second, func() error {
		data, err := os.ReadFile(n.path("log"))
		if err == nil && !strings.Contains(string(data), words) {
			err = fmt.Errorf("the log is %s", data)
		}
		return err
	})
}

// mustFail demands that the process ends with an error.
func (n *mountedNode) mustFail(ended <-chan error) {
	n.t.Helper()
	select {
	case err := <-ended:
		if err == nil {
			n.t.Error("it ended without an error")
		}
	case <-time.After(2 * time.Minute):
		n.t.Fatal("it does not end")
	}
}

// removeAll removes a folder as often as it takes: a follower puts files back meanwhile.
func removeAll(folder string) (err error) {
	for range 100 {
		if err = os.RemoveAll(folder); err == nil {
			return nil
		}
	}
	return err
}

// harms are what happens to a folder of the host that is mounted elsewhere.
var harms = map[string]func(folder string) error{
	"removed":                       removeAll,
	"moved":                         func(folder string) error { return os.Rename(folder, folder+".bak") },
	"removed with the folder above": func(folder string) error { return removeAll(filepath.Dir(folder)) },
	"moved with the folder above":   func(folder string) error { return os.Rename(filepath.Dir(folder), filepath.Dir(folder)+".bak") },
}

// TestNetnsMountedFolders: a process that looks at the old folder for ever is of no use. It
// ends, and the kubelet starts it again, with the folder that has the name.
func TestNetnsMountedFolders(t *testing.T) {
	for what, harm := range harms {
		for name, run := range map[string]func(n *mountedNode, folder string) <-chan error{
			"configurations": func(n *mountedNode, folder string) <-chan error {
				n.write("host/net.d/10-cbr0.conf", `{"cniVersion":"1.0.0","name":"cbr0","type":"bridge"}`, 0o600)
				ended := n.start(folder, "install", "--follow", "--from", n.path("from"), "--bin-dir", n.path("bin"),
					"--conf-dir", n.path("inside/net.d"), "--host-conf-dir", folder, "--cni-dir", n.path("cni"), "--socket", n.path("run/agent.sock"))
				n.logged("following the default network")
				return ended
			},
			"plugins": func(n *mountedNode, folder string) <-chan error {
				n.write("host/net.d/bridge", "#!/bin/sh\n", 0o755)
				ended := n.start(folder, "install", "--follow", "--from", n.path("from"), "--bin-dir", n.path("inside/net.d"),
					"--conf-dir", n.path("net.d"), "--cni-dir", n.path("cni"), "--socket", n.path("run/agent.sock"))
				n.logged("following the default network")
				return ended
			},
			"the journal": func(n *mountedNode, folder string) <-chan error {
				ended := n.start(folder, "serve", "--node-name", "n1", "--kubeconfig", n.path("none"), "--metrics-address", "",
					"--state-dir", n.path("inside/net.d/plexus"), "--socket", n.path("run/agent.sock"), "--pod-resources-socket", "")
				n.logged("waiting for credentials")
				return ended
			},
			"the socket": func(n *mountedNode, folder string) <-chan error {
				ended := n.start(folder, "serve", "--node-name", "n1", "--kubeconfig", n.path("none"), "--metrics-address", "",
					"--state-dir", n.path("cni/plexus"), "--socket", n.path("inside/net.d/agent.sock"), "--pod-resources-socket", "")
				n.logged("waiting for credentials")
				return ended
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				n := &mountedNode{installNode: newInstallNode(t)}
				folder := n.path("host/net.d")
				ended := run(n, folder)
				check.Must(t, harm(folder))
				n.mustFail(ended)
				n.logged("was moved or removed on the host")
				ended = run(n, folder) // as the kubelet does
				check.Must(t, removeAll(folder))
				n.mustFail(ended)
			})
		}
	}
}
