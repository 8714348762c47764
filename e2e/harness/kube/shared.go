package kube

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// BinVar names the environment variable with the folder of the executables.
const BinVar = "PLEXUS_KUBE_BIN"

var shared struct {
	sync.Mutex
	start   func() (*Cluster, error) // nil outside Main
	cluster *Cluster
}

// Main runs a package's tests and then stops the control plane that they shared. It returns the
// exit status, for os.Exit in TestMain.
func Main(m *testing.M) int {
	shared.start = sync.OnceValues(func() (*Cluster, error) {
		cluster, err := Start(context.Background(), Options{BinDir: os.Getenv(BinVar)})
		shared.Lock()
		defer shared.Unlock()
		shared.cluster = cluster
		return cluster, err
	})
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if err := shared.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the shared control plane:", err)
		return max(code, 1)
	}
	return code
}

// Shared is the control plane of this package's tests, started when first asked for. The test is
// skipped if no executables are given, and fails if they do not start.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	BinDir(t)
	if shared.start == nil {
		t.Fatal("kube.Shared: TestMain does not call kube.Main")
	}
	cluster, err := shared.start()
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// BinDir is the folder of the executables, for a test that starts a control plane of its own.
// The test is skipped if none is given.
func BinDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(BinVar)
	if dir == "" {
		t.Skipf("%s is not set: it names the folder that e2e/tools/build kube prints", BinVar)
	}
	return dir
}
