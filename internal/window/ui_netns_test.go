//go:build linux

package window

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

// The page of this machine shows what happens on it: a pod that comes, its path to another one, what goes wrong,
// and that it is gone.
func TestNetnsUI(t *testing.T) {
	n := nodetest.New(t)
	n.PodWith("web", "")
	n.PodWith("db", "")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(n.Bin, program), "ui",
		"--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"), "--conf-dir", n.Path("conf"), "--runtime-endpoint", "unix://"+n.Path("none"))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.Path("none"))
	out, err := cmd.StdoutPipe()
	check.Must(t, err)
	cmd.Stderr = os.Stderr
	n.Do(cmd.Start)
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // of a test that failed before it ended well
	page := enter(t, out, &http.Transport{DialContext: func(ctx context.Context, network, address string) (connection net.Conn, err error) {
		n.Do(func() error {
			connection, err = new(net.Dialer).DialContext(ctx, network, address)
			return nil
		})
		return connection, err
	}})
	shows := func(what, text string) {
		t.Helper()
		check.Must(t, poll.Until(t.Context(), checkEvery*2, text, func(ctx context.Context) error {
			got, err := page.get(ctx, what)
			if err == nil && !strings.Contains(got, text) {
				err = fmt.Errorf("it shows:\n%s", got)
			}
			return err
		}))
	}
	shows("/", "No journal has an attachment.")
	web, db := n.Sandbox("web"), n.Sandbox("db")
	n.Add(web, n.Conf(nil)).OK()
	n.Add(db, n.Conf(nil)).OK()
	shows("/", "default/web")
	shows("/path?from=default/web&to=default/db", "pod default/web eth0 (10.1.0.2) → pod default/db eth0 (10.1.0.3)")
	shows("/path?from=default/web&to=default/db", `<span class="sign ok">arrives</span>`)
	web.MustRun("ip", "link", "set", "eth0", "down")
	shows("/", "interface-down")
	shows("/path?from=default/web&to=default/db", `<span class="sign error">lost</span>`)
	n.Del(web, n.Conf(nil)).OK()
	n.Del(db, n.Conf(nil)).OK()
	shows("/", "No journal has an attachment.")
	check.Must(t, cmd.Process.Signal(os.Interrupt))
	check.Must(t, cmd.Wait())
}
