package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

func testOptions(t *testing.T) *options {
	t.Helper()
	o := &options{dir: filepath.Join(t.TempDir(), "cluster"), source: "/src"}
	t.Setenv("TMPDIR", o.dir)
	return o
}

func mustLock(t *testing.T, o *options) *os.File {
	t.Helper()
	lock, err := o.lock()
	if err != nil || lock == nil {
		t.Fatalf("the lock of %s: %v, %v", o.dir, lock, err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	return lock
}

// A folder has one holder. A folder that was removed and made anew has another lock.
func TestKubeMakeClusterLock(t *testing.T) {
	o := testOptions(t)
	first := mustLock(t, o)
	if second, err := o.lock(); second != nil || err != nil {
		t.Errorf("the lock was given twice: %v, %v", second, err)
	}
	if !o.isLock(first) {
		t.Error("the lock of the folder counts for nothing")
	}
	if err := os.RemoveAll(o.dir); err != nil {
		t.Fatal(err)
	}
	mustLock(t, o)
	if o.isLock(first) {
		t.Error("the lock of a folder that was removed counts for the new one")
	}
}

// sleeper starts a process of a run.
func sleeper(t *testing.T, run string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), runEntry(run))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// What a cluster without a keeper has left is removed: its processes and no others, its files, not
// the lock.
func TestKubeMakeClusterClean(t *testing.T) {
	o := testOptions(t)
	mustLock(t, o)
	run := runPrefix + strings.ToLower(rand.Text())
	ours, other := sleeper(t, run), sleeper(t, run+"2")
	for name, text := range map[string]string{logFile: "it said", run + "/node1/disk": "a file"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(o.path(name)), 0o755), os.WriteFile(o.path(name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.writeState(&state{Run: run}); err != nil {
		t.Fatal(err)
	}
	if err := o.clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := poll.Until(t.Context(), endLimit, "the cluster's process to end", func(context.Context) error {
		if isOf(ours.Process.Pid, run) {
			return errors.New("it runs")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !isOf(other.Process.Pid, run+"2") {
		t.Error("a process of another cluster has ended")
	}
	entries, err := os.ReadDir(o.dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != lockFile {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// A process that the state names, but that is another by now, is never ended.
func TestKubeMakeClusterOldNumber(t *testing.T) {
	o := testOptions(t)
	mustLock(t, o) // somebody's, who is not the keeper
	other := sleeper(t, "somebody-else")
	if err := o.writeState(&state{Run: runPrefix + "gone", Keeper: other.Process.Pid, Up: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.end(t.Context()); err == nil {
		t.Error("a process that is not the keeper was taken for it")
	}
	if !isOf(other.Process.Pid, "somebody-else") {
		t.Error("it was ended")
	}
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// A page fits a screen, names the image and the folders, and its command lines are whole.
func TestKubeMakeClusterPage(t *testing.T) {
	for _, multus := range []bool{false, true} {
		o := &options{dir: "/src/out/cluster", source: "/src"}
		text := page(o, &state{Master: "canal", Multus: multus, Took: "9 s"})
		if lines := strings.Count(text, "\n"); lines > 42 {
			t.Errorf("multus %v: the page has %d lines", multus, lines)
		}
		if left := placeholder.FindString(text); left != "" {
			t.Errorf("multus %v: %s is left in the page", multus, left)
		}
		for _, want := range []string{cluster.BusyboxImage, "network canal", "9 s", "KUBECONFIG=/src/out/cluster/kubeconfig", "/src/examples/cluster", "cluster-down"} {
			if !strings.Contains(text, want) {
				t.Errorf("multus %v: the page lacks %q:\n%s", multus, want, text)
			}
		}
		for _, line := range commandLines(text) {
			if out, err := exec.Command("bash", "-n", "-c", line).CombinedOutput(); err != nil {
				t.Errorf("multus %v: %q: %v: %s", multus, line, err, out)
			}
		}
	}
}

// commandLines are those of a page that are for pasting.
func commandLines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			all = append(all, strings.TrimSpace(command))
		}
	}
	return all
}

// What cannot work is said before anything is made.
func TestKubeMakeClusterRefuses(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: the command looks for it first")
	}
	for name, tc := range map[string]struct {
		opts   options
		unset  bool
		report string
	}{
		"no such network": {options{master: "weave"}, false, "flannel"},
		"no executables":  {options{master: "bridge", dir: t.TempDir(), source: t.TempDir()}, true, "make cluster"},
		"hidden checkout": {options{master: "bridge", dir: t.TempDir(), source: "/opt/plexus"}, false, "/opt/plexus"},
		"hidden cluster":  {options{master: "bridge", dir: "/var/lib/jobs/out/cluster", source: t.TempDir()}, false, "/var/lib/jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"PLEXUS_KUBE_BIN", toolsVar} {
				t.Setenv(variable, map[bool]string{false: "/somewhere"}[tc.unset])
			}
			t.Setenv("TMPDIR", os.TempDir())
			err := tc.opts.complete()
			if err == nil {
				err = up(t.Context(), &tc.opts)
			}
			if err == nil || !strings.Contains(err.Error(), tc.report) {
				t.Errorf("it says %v, not %q", err, tc.report)
			}
		})
	}
}

// An answer goes through whole, and so does the end of a question.
func TestKubeMakeClusterForward(t *testing.T) {
	server := listen(t)
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		question := make([]byte, 3)
		n, _ := conn.Read(question)
		_, _ = conn.Write([]byte("answer to " + string(question[:n])))
		_ = conn.Close()
	}()
	front := listen(t)
	go forward(front, server.Addr().String())
	conn, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(endLimit)); err != nil { // or a fault is for ever
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	var answer strings.Builder
	if _, err := conn.(*net.TCPConn).WriteTo(&answer); err != nil || answer.String() != "answer to one" {
		t.Errorf("the answer is %q, %v", answer.String(), err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// An end by make cluster-down is none that leaves logs.
func TestKubeMakeClusterEnded(t *testing.T) {
	for code, ended := range map[int]bool{exitInterrupted: true, 1: false, -1: false} {
		o := testOptions(t)
		mustLock(t, o)
		if err := o.writeState(&state{Run: "none"}); err != nil {
			t.Fatal(err)
		}
		status := make(chan int, 1)
		status <- code
		if _, err := o.follow(context.Background(), status); err == nil || errors.Is(err, errEnded) != ended {
			t.Errorf("of a keeper that ends with %d it says %v", code, err)
		}
	}
}
