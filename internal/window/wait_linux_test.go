package window

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A process serves if that is its command, and not if it has ended and nobody waited for it yet.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, unix.Mkfifo(filepath.Join(dir, "node"), 0o600)) // whose reader waits for a writer
	cat := exec.Command("cat", "node", "serve")
	cat.Dir = dir
	check.Must(t, cat.Start())
	t.Cleanup(func() { _ = cat.Wait() })
	check.Eventually(t, "it runs", 10*time.Second, func() bool { return runs(cat.Process.Pid, "serve") })
	check.Equal(t, "it waits", runs(cat.Process.Pid, "wait"), false)
	check.Equal(t, "this one", runs(os.Getpid(), "serve"), false)
	check.Must(t, cat.Process.Kill())
	check.Ends(t, cat.Process.Pid)
	check.Equal(t, "it has ended", runs(cat.Process.Pid, "serve"), false)
}
