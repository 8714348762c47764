//go:build linux

package window

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	// Whoever runs the tests may ignore it, as nohup has it: what is started here must not.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for name, test := range map[string]struct {
		before  []string // of the command
		more    []string
		signals []os.Signal // none: it ends by itself
	}{
		"by Ctrl-C": {signals: []os.Signal{os.Interrupt}}, "after so many packets": {more: []string{"-c", "2"}},
		"by timeout, which signals twice":    {signals: []os.Signal{syscall.SIGTERM, syscall.SIGTERM}},
		"with its terminal":                  {signals: []os.Signal{syscall.SIGHUP}},
		"after its terminal, as it was told": {before: []string{"nohup"}, signals: []os.Signal{syscall.SIGHUP, os.Interrupt}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "web.pcapng")
			args := slices.Concat(test.before, []string{
				filepath.Join(n.Bin, program), "capture", "web", "-w", file, "icmp", "--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"),
			}, test.more)
			cmd := exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Path("none"))
			said, err := cmd.StderrPipe()
			check.Must(t, err)
			n.Do(cmd.Start)
			t.Cleanup(func() { _ = cmd.Process.Kill() }) // of a test that failed before it ended well
			lines := bufio.NewScanner(said)
			lines.Scan()
			check.Equal(t, "the first line", lines.Text(), "kubectl-plexus: capturing on 1 interface; Ctrl-C ends it")
			check.Must(t, web.Ping("10.1.0.1"))
			for _, each := range test.signals {
				check.Must(t, cmd.Process.Signal(each))
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

// A capture whose pod goes says so, and ends with all that it had; so does one whose reader has seen enough.
func TestNetnsCaptureIsCutOff(t *testing.T) {
	for name, test := range map[string]struct {
		cut  func(web *nodetest.Sandbox, out io.ReadCloser)
		want string
		code int
	}{
		"by the end of its interface": {func(web *nodetest.Sandbox, _ io.ReadCloser) { web.MustRun("ip", "link", "del", "eth0") }, "every interface is gone that was captured on", exitBlind},
		"by its reader": {func(web *nodetest.Sandbox, out io.ReadCloser) {
			_ = web.Ping("10.1.0.1")
			const packet = "\x06\x00\x00\x00" // how the block of one begins
			for read, chunk := "", make([]byte, 4096); !strings.Contains(read, packet); {
				size, err := out.Read(chunk)
				check.Must(t, err)
				read += string(chunk[:size])
			}
			_ = out.Close()
			_ = web.Ping("10.1.0.1")
		}, "could not be written", exitFine},
	} {
		t.Run(name, func(t *testing.T) {
			n := nodetest.New(t)
			n.PodWith("web", "")
			web := n.Sandbox("web")
			n.Add(web, n.Conf(nil)).OK()
			cmd := exec.CommandContext(t.Context(), filepath.Join(n.Bin, program), "capture", "web", "-w", "-", "icmp", "--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"))
			cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Path("none"))
			said, err := cmd.StderrPipe()
			check.Must(t, err)
			out, err := cmd.StdoutPipe()
			check.Must(t, err)
			n.Do(cmd.Start)
			lines := bufio.NewScanner(said)
			lines.Scan()
			test.cut(web, out)
			var rest strings.Builder
			for lines.Scan() {
				rest.WriteString(lines.Text() + "\n")
			}
			_ = cmd.Wait()
			check.Contains(t, "what it says", rest.String(), test.want)
			check.Equal(t, "exit code", cmd.ProcessState.ExitCode(), test.code)
		})
	}
}
