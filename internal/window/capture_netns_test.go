//go:build linux

package window

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// A capture ends with Ctrl-C as it should: all that passed is in the file, and the summary says so.
func TestNetnsCaptureEndsWell(t *testing.T) {
	n := nodetest.New(t)
	n.PodWith("web", "")
	web := n.Sandbox("web")
	n.Add(web, n.Conf(nil)).OK()
	for name, test := range map[string]struct {
		more []string
		ends bool // by itself
	}{"by Ctrl-C": {}, "after so many packets": {[]string{"-c", "2"}, true}} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "web.pcapng")
			cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(n.Bin, program), append([]string{
				"capture", "web", "-w", file, "icmp", "--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"),
			}, test.more...)...)
			cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Path("none"))
			said, err := cmd.StderrPipe()
			check.Must(t, err)
			n.Do(cmd.Start)
			t.Cleanup(func() { _ = cmd.Process.Kill() }) // of a test that failed before it ended well
			lines := bufio.NewScanner(said)
			lines.Scan()
			check.Equal(t, "the first line", lines.Text(), "kubectl-plexus: capturing on 1 interface; Ctrl-C ends it")
			check.Must(t, web.Ping("10.1.0.1"))
			if !test.ends {
				check.Must(t, cmd.Process.Signal(os.Interrupt))
			}
			lines.Scan()
			check.Equal(t, "the last line", lines.Text(), "kubectl-plexus: 2 packets of 1 interface; none was lost to the capture")
			check.Must(t, cmd.Wait())
			out, err := exec.Command("tshark", "-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type").Output()
			check.Must(t, err)
			check.Equal(t, "packets", strings.TrimSpace(string(out)), "eth0@default/web\t8\neth0@default/web\t0")
			data, err := os.ReadFile(file)
			check.Must(t, err)
			check.Equal(t, "it ends with statistics", bytes.Contains(data, []byte{5, 0, 0, 0}), true)
		})
	}
}
