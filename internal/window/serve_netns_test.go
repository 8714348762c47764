//go:build linux

package window

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// windowRoot makes a folder in which the node's folders are at their paths, as below /host.
func windowRoot(t *testing.T, folders ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, folder := range folders {
		check.Must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(folder)), 0o700))
		check.Must(t, os.Symlink(folder, filepath.Join(root, folder)))
	}
	return root
}

// process is a program as a connection to its standard input and output.
type process struct {
	io.Reader
	io.WriteCloser
}

// startServer starts a server on the node, with no more than some capabilities.
func startServer(t *testing.T, n *nodetest.Node, capabilities string, folders stream.Folders) *stream.Client {
	t.Helper()
	root := windowRoot(t, append([]string{folders.State}, folders.NetNS...)...)
	cmd := exec.Command("setpriv", "--bounding-set", capabilities, filepath.Join(n.Bin, program), "node", "serve", "--root", root)
	in, err := cmd.StdinPipe()
	check.Must(t, err)
	out, err := cmd.StdoutPipe()
	check.Must(t, err)
	cmd.Stderr = t.Output()
	n.Do(cmd.Start)
	client, err := stream.Connect(t.Context(), process{out, in}, stream.Hello{Protocol: stream.Protocol, Build: "v1", Folders: folders})
	check.Must(t, err)
	t.Cleanup(func() {
		check.Must(t, client.Close())
		check.Must(t, cmd.Wait()) // its input has ended
	})
	return client
}

// A server reads the node by folders that are mounted elsewhere, and says what they are on the node. What
// its capabilities do not let it read is named, and the rest goes on.
func TestNetnsServe(t *testing.T) {
	n := nodetest.New(t)
	n.PodWith("web", "")
	web := n.Sandbox("web")
	n.Add(web, n.Conf(nil)).OK()
	folders := stream.Folders{State: filepath.Join(n.CNIDir, "plexus"), NetNS: []string{n.Path("netns")}}

	full := startServer(t, n, "-all,+net_admin,+sys_admin", folders)
	s, err := full.Snapshot(t.Context(), inspect.Request{})
	check.Must(t, err)
	inode, err := s.FindPod("default/web")
	check.Must(t, err)
	pod := inspect.NewGraph(s).Namespace(inode)
	check.Equal(t, "paths of the sandbox", pod.Paths, []string{web.Path})
	check.Equal(t, "the record lives", s.Records[0].Live, true)
	check.Equal(t, "it has routes", len(pod.Routes) > 0, true)
	check.Equal(t, "notes", len(s.Notes), 0)
	questions := []inspect.Question{{Namespace: inode, To: "10.1.0.1"}}
	answers, err := full.Answers(t.Context(), questions)
	check.Must(t, err)
	check.Equal(t, "the route's source", answers[0].Route.Source, "10.1.0.2")

	for capabilities, tc := range map[string]struct {
		request inspect.Request
		missing string
	}{
		"-all,+net_admin":            {inspect.Request{Brief: true}, ""},
		"-all,+net_admin,-sys_admin": {inspect.Request{}, "the capability SYS_ADMIN"},
		"-all,+sys_admin":            {inspect.Request{}, "the capability NET_ADMIN"},
		"-all":                       {inspect.Request{Brief: true}, "the capability NET_ADMIN, and SYS_ADMIN"},
	} {
		t.Run(capabilities, func(t *testing.T) {
			server := startServer(t, n, capabilities, folders)
			s, err := server.Snapshot(t.Context(), tc.request)
			check.Must(t, err)
			check.Contains(t, "notes", fmt.Sprint(s.Notes), tc.missing)
			check.Equal(t, "something is missing", len(s.Notes) > 0, tc.missing != "")
			if strings.Contains(capabilities, "+sys_admin") {
				return
			}
			answers, err := server.Answers(t.Context(), questions)
			check.Must(t, err)
			check.Contains(t, "an answer", answers[0].Unread, "the capability SYS_ADMIN")
		})
	}
}

// inPIDs runs a command as the first process of new process numbers.
func inPIDs(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	script := `mount --make-rprivate / && mount -t proc proc /proc && exec "$@"`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = t.Output()
	return cmd
}

// A client that is served for a moment, between two looks, keeps the pod as one that stays does.
func TestNetnsWait(t *testing.T) {
	n := nodetest.New(t)
	wait := inPIDs(t, filepath.Join(n.Bin, program), "node", "wait", "--keep", "1s")
	check.Must(t, wait.Start())
	t.Cleanup(func() { _ = wait.Process.Kill() })
	pid := strconv.Itoa(wait.Process.Pid)
	check.Eventually(t, "it waits", 10*time.Second, func() bool { return runs(wait.Process.Pid, "wait") })
	var last time.Time
	for begun := time.Now(); time.Since(begun) < 700*time.Millisecond; { // the next look is after a second
		last = time.Now()
		_, err := exec.Command("nsenter", "-t", pid, "-p", "-m", filepath.Join(n.Bin, program), "node", "serve").Output() // its input is empty
		check.Must(t, err)
	}
	check.Must(t, wait.Wait())
	if took := time.Since(last); took < time.Second {
		t.Errorf("it ended %s after somebody was served", took)
	}
}
