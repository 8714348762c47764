package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// orphanVar makes the test binary a process that starts a control plane and is then killed.
const orphanVar = "PLEXUS_KUBE_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanVar); dir != "" {
		os.Exit(orphan(dir))
	}
	os.Exit(kube.Main(m))
}

// own starts a control plane for one test.
func own(t *testing.T) *kube.Cluster {
	t.Helper()
	c, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func listNamespaces(ctx context.Context, c kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := c.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	return err
}

func TestKubeLife(t *testing.T) {
	began := time.Now()
	c := own(t)
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	admin := kube.ClientOf(t, c.AdminKubeconfig(), nil)
	c.MakeNamespace(t, "kept")

	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := listNamespaces(t.Context(), admin); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused API server: got %v, want a time-out", err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := listNamespaces(t.Context(), admin); err != nil {
		t.Errorf("a resumed API server: %v", err)
	}

	c.KillAPI()
	if err := listNamespaces(t.Context(), admin); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a killed API server: got %v, want connection refused", err)
	}
	began = time.Now()
	if err := c.StartAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready again after %s", time.Since(began).Round(time.Millisecond))
	if _, err := admin.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the data after a restart: %v", err)
	}
}

func TestKubeStop(t *testing.T) {
	dir := t.TempDir()
	c, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also when paused, and when stopped
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	assertEmpty(t, dir)
	if conn, err := net.Dial("tcp", strings.TrimPrefix(c.Server(), "https://")); err == nil {
		_ = conn.Close()
		t.Error("something still listens on the API server's port")
	}
}

func assertEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("left in the folder: %v", entries)
	}
}

func TestKubeStartFails(t *testing.T) {
	broken := t.TempDir()
	script := []byte("#!/bin/sh\necho no such luck\nexit 3\n")
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(broken, name), script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, bin, want string }{
		{"no folder", "", "e2e/tools/build kube"},
		{"no executables", t.TempDir(), "start etcd"},
		{"a server that ends", broken, "ended: exit status 3\nno such luck"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			c, err := kube.Start(t.Context(), kube.Options{BinDir: test.bin, Dir: dir})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
			if err := c.Stop(); err != nil {
				t.Errorf("stop what has not started: %v", err)
			}
			assertEmpty(t, dir)
		})
	}
}

func TestKubeStartCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := kube.Start(ctx, kube.Options{BinDir: kube.BinDir(t), Dir: dir})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a time-out", err)
	}
	assertEmpty(t, dir)
}

// orphan starts a control plane, says its folder and waits to be killed.
func orphan(dir string) int {
	_, err := kube.Start(context.Background(), kube.Options{BinDir: os.Getenv(kube.BinVar), Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	select {}
}

func TestKubeDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	kube.BinDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanVar+"="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, _ := stdout.Read(said)
	servers := processesUsing(t, dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if string(said[:n]) != "started\n" || len(servers) != 2 {
		t.Fatalf("the process said %q and has the servers %v", said[:n], servers)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return len(processesUsing(t, dir)) == 0, nil })
	if err != nil {
		t.Errorf("servers that outlive their parent: %v", processesUsing(t, dir))
	}
}

// processesUsing finds the processes with dir on their command line.
func processesUsing(t *testing.T, dir string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may be gone by now
		if strings.Contains(string(line), dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}
