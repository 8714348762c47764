package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

// user is somebody who tries Plexus: types make cluster, and then what it prints.
type user struct {
	testing.TB
	dir  string
	page string
	use  string // the line that makes a shell use the cluster
	said map[string]string
}

// newUser skips without what make e2e builds.
func newUser(t *testing.T) *user {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: make cluster makes namespaces")
	}
	if os.Getenv(toolsVar) == "" {
		t.Skipf("%s is not set: run make e2e", toolsVar)
	}
	u := &user{TB: t, dir: filepath.Join(t.TempDir(), "cluster"), said: map[string]string{}}
	t.Cleanup(func() {
		if out, err := u.make("cluster-down"); err != nil {
			t.Errorf("make cluster-down: %v\n%s", err, out)
		}
	})
	return u
}

// make runs a target of the project, as from a shell: not as a part of the make that runs this.
func (u *user) make(args ...string) (string, error) {
	return u.run(exec.Command("make", append([]string{"-sC", "../..", "CLUSTER_DIR=" + u.dir}, args...)...))
}

func (u *user) run(cmd *exec.Cmd) (string, error) {
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") || strings.HasPrefix(v, "PLEXUS_E2E_")
	})
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run() // a pipe that the keeper held would not end
	return out.String(), err
}

// up starts a cluster.
func (u *user) up(args ...string) {
	u.Helper()
	out, err := u.make(append([]string{"cluster"}, args...)...)
	if err != nil {
		u.Fatalf("make cluster: %v\n%s", err, out)
	}
	u.Log(out)
	u.page = out
}

// followPage types every line of the page, but that which removes the cluster.
func (u *user) followPage() {
	u.Helper()
	lines := commandLines(u.page)
	u.use = lines[0]
	for _, line := range lines[1 : len(lines)-1] {
		out, err := u.run(exec.Command("bash", "-ec", u.use+"\n"+line))
		if err != nil {
			u.Fatalf("%s: %v\n%s", line, err, out)
		}
		u.said[line] += out
		if strings.Contains(line, "00-multus.conf /etc/cni/") {
			u.awaitChange(line)
		}
	}
}

// awaitChange waits until the runtime of the node that a line is of has seen that Multus's file
// has gone. Somebody who types is slower than that.
func (u *user) awaitChange(line string) {
	u.Helper()
	_, node, _ := strings.Cut(line, "NODE=")
	err := poll.Until(u.Context(), endLimit, "the runtime to use Plexus", func(context.Context) error {
		out, err := u.make("cluster-shell", "NODE="+strings.Fields(node)[0], "CMD=crictl info")
		if err == nil && !strings.Contains(out, `"type": "plexus"`) {
			err = errors.New("it does not")
		}
		return err
	})
	if err != nil {
		u.Fatal(err)
	}
}

// saw demands that a line of the page with the first text has printed the others.
func (u *user) saw(command string, wants ...string) {
	u.Helper()
	for line, out := range u.said {
		if !strings.Contains(line, command) {
			continue
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				u.Errorf("%s: no %q in\n%s", line, want, out)
			}
		}
		return
	}
	u.Errorf("the page has no %q", command)
}

// sawPods demands what the pods of the example are there for.
func (u *user) sawPods() {
	u.Helper()
	u.saw("exec a -- ip addr", "eth0", "net0", "192.168.50.11/24")
	u.saw("exec a -- ping", " 0% packet loss")
	u.saw("get pod a -o jsonpath", `"interface": "net0"`, `"192.168.50.11"`, `"name": "default/lan"`)
	u.saw("involvedObject.name=a", "AddedInterface", "net0 [192.168.50.11]")
}

// traces gives what the machine has of a cluster, as long as it is there.
func (u *user) traces(run string) []string {
	u.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup/*/" + run)
	if err != nil {
		u.Fatal(err)
	}
	pids, err := processes(run)
	if err != nil {
		u.Fatal(err)
	}
	for _, pid := range pids {
		found = append(found, fmt.Sprint("process ", pid))
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		u.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, u.dir) {
			found = append(found, line)
		}
	}
	if _, err := os.Stat(u.dir); !errors.Is(err, fs.ErrNotExist) {
		found = append(found, u.dir)
	}
	return found
}

// mustBeGone demands that nothing is left of a cluster.
func (u *user) mustBeGone(run string) {
	u.Helper()
	if left := u.traces(run); len(left) > 0 {
		u.Errorf("the cluster has left %q", left)
	}
}

func (u *user) state() *state {
	u.Helper()
	s, err := (&options{dir: u.dir}).readState()
	if err != nil || s == nil {
		u.Fatalf("the state of the cluster: %v, %v", s, err)
	}
	return s
}

// mustStandAlone demands that the end of a terminal is not that of the cluster, and that nobody but
// the user can read the credentials.
func (u *user) mustStandAlone() {
	u.Helper()
	keeper := u.state().Keeper
	if session, err := unix.Getsid(keeper); err != nil || session != keeper {
		u.Errorf("the keeper, process %d, is of session %d: %v", keeper, session, err)
	}
	if info, err := os.Stat(filepath.Join(u.dir, kubeconfig)); err != nil || info.Mode().Perm() != 0o600 {
		u.Errorf("the kubeconfig: %v, %v", info, err)
	}
}

// Somebody types make cluster and every line of the page, sees net0, and takes the cluster down.
func TestE2EMakeCluster(t *testing.T) {
	u := newUser(t)
	u.up("MASTER=bridge")
	run := u.state().Run
	if there := u.traces(run); len(there) < 10 { // folder, control groups, servers
		t.Errorf("of a cluster that is up only %q is found", there)
	}
	u.mustStandAlone()
	u.followPage()
	u.saw("get pods -A", "plexus-agent")
	u.sawPods()
	u.saw("cat /etc/cni/net.d", `"type": "plexus"`, ".jsonl")
	if again, err := u.make("cluster"); err != nil || !strings.Contains(again, "up already") || !strings.Contains(again, u.use) {
		t.Errorf("make cluster once more: %v\n%s", err, again)
	}
	if other, err := u.make("cluster", "MASTER=flannel"); err == nil || !strings.Contains(other, "cluster-down") {
		t.Errorf("make cluster with another network: %v\n%s", err, other)
	}
	lines := commandLines(u.page)
	if out, err := u.run(exec.Command("bash", "-ec", lines[len(lines)-1])); err != nil || !strings.Contains(out, "removed") {
		t.Errorf("%s: %v\n%s", lines[len(lines)-1], err, out)
	}
	u.mustBeGone(run)
}

// Somebody changes from Multus by the page. Then the keeper is killed; the next make cluster
// removes what it has left, and so does make cluster-down.
func TestE2EMakeClusterMultus(t *testing.T) {
	u := newUser(t)
	u.up("MASTER=flannel", "MULTUS=1")
	first := u.state()
	u.followPage()
	u.saw("exec before -- ip addr", "net1", "192.168.51.2/24")
	u.saw("logs daemonset/plexus-agent -c install", "sorts before")
	u.sawPods()
	// Typed twice: before the pod was deleted, and after.
	u.saw("ls /var/lib/cni/networks/old", "192.168.51.2")
	for line, out := range u.said {
		if strings.Contains(line, "ls /var/lib/cni/networks/old") && strings.Count(out, "192.168.51.2") != 1 {
			t.Errorf("the address of a pod of Multus is not released:\n%s", out)
		}
	}
	if err := syscall.Kill(first.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.up("MASTER=bridge")
	if !strings.Contains(u.page, "without make cluster-down") {
		t.Errorf("after the keeper was killed:\n%s", u.page)
	}
	second := u.state()
	if err := syscall.Kill(second.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out, err := u.make("cluster-down"); err != nil {
		t.Errorf("make cluster-down: %v\n%s", err, out)
	}
	for _, s := range []*state{first, second} {
		u.mustBeGone(s.Run)
	}
}
