//go:build linux

package window

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

// get --watch writes what happens on the node, and Ctrl-C ends it well.
func TestNetnsGetWatch(t *testing.T) {
	n := nodetest.New(t)
	n.PodWith("web", "")
	shown, err := os.Create(n.Path("shown"))
	check.Must(t, err)
	defer func() { _ = shown.Close() }()
	cmd := exec.CommandContext(t.Context(), filepath.Join(n.Bin, program), "get", "--watch",
		"--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"))
	cmd.Stdout, cmd.Stderr = shown, shown
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Path("none"))
	n.Do(cmd.Start)
	shows := func(text string) {
		t.Helper()
		check.Must(t, poll.Until(t.Context(), checkEvery/2, text, func(context.Context) error {
			if got := n.ReadFile(shown.Name()); !strings.Contains(got, text) {
				return fmt.Errorf("it shows:\n%s", got)
			}
			return nil
		}))
	}
	shows("no such attachment")
	web := n.Sandbox("web")
	n.Add(web, n.Conf(nil)).OK()
	shows("default/web  eth0")
	web.MustRun("ip", "addr", "flush", "dev", "eth0")
	shows("changed (eth0 lacks 10.1.0.2/16)")
	n.Del(web, n.Conf(nil)).OK()
	shows("released")
	check.Must(t, cmd.Process.Signal(os.Interrupt))
	check.Must(t, cmd.Wait())
}
