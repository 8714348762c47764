//go:build linux

package window

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// The commands read a node as root, with neither a cluster nor a runtime.
func TestNetnsInspect(t *testing.T) {
	n := nodetest.New(t)
	n.PodWith("web", "")
	web := n.Sandbox("web")
	n.Add(web, n.Conf(nil)).OK()
	where := []string{"--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns")}
	run := func(args ...string) (string, error) {
		return n.Try(filepath.Join(n.Bin, program), append(args, where...)...)
	}
	for _, named := range [][]string{{"default/web"}, {"--container", "web"}, {"--netns", web.Path}} {
		out, err := run(append([]string{"inspect"}, named...)...)
		check.Must(t, err)
		check.Contains(t, "a healthy pod", out, "pod default/web", "Nothing is wrong.", "cbr0 (the node)", "10.1.0.2/16")
	}
	n.Run("ip", "link", "set", "cbr0", "down")
	out, err := run("inspect", "web")
	check.Error(t, err, "exit status 1")
	check.Contains(t, "a broken pod", out, "bridge-down", "eth0: its bridge cbr0 is down")

	file := n.Path("node.json")
	out, err = run("snapshot", "--save", file)
	check.Must(t, err)
	check.Equal(t, "output beside --save", out, "")
	again, err := n.Try(filepath.Join(n.Bin, program), "inspect", "--from", file, "web")
	check.Error(t, err, "exit status 1")
	check.Contains(t, "the saved node", again, "eth0: its bridge cbr0 is down")
	check.Equal(t, "mode of the file", n.Run("stat", "-c", "%a", file), "600\n")
	out, err = run("snapshot")
	check.Must(t, err)
	s, err := inspect.Parse([]byte(out))
	check.Must(t, err)
	check.Equal(t, "the sandbox", s.Namespaces[1].Sandbox, &inspect.Sandbox{ContainerID: "web", Pod: "default/web"})
	if strings.Contains(out, "host-local") {
		t.Error("a configuration is in the snapshot")
	}
}
