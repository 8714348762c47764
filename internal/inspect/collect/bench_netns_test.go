//go:build linux

package collect

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// sandboxes is how many a large node has.
const sandboxes = 250

// BenchmarkNode reads a node of many sandboxes: each has eth0 on the bridge cbr0; that of the pod
// that is inspected has nine more interfaces. No record is read.
//
//	go test ./internal/inspect/collect -run '^$' -bench Node -benchtime 10x
func BenchmarkNode(b *testing.B) {
	n := node.New(b)
	n.Run("ip", "link", "add", "cbr0", "type", "bridge")
	n.Run("ip", "link", "set", "cbr0", "up")
	var first *node.Sandbox
	for i := range sandboxes {
		s := n.Sandbox(fmt.Sprintf("s%03d", i))
		veth(n, s, i, "eth0")
		if first == nil {
			first = s
		}
	}
	for i := range 9 {
		veth(n, first, sandboxes+i, fmt.Sprintf("net%d", i))
	}
	for name, change := range map[string]func(*Options){
		"brief": func(o *Options) { o.Brief = true },
		"one":   func(o *Options) { o.Only = []inspect.Target{{NetNS: first.Path}} },
		"whole": func(*Options) {},
	} {
		b.Run(name, func(b *testing.B) {
			options := Options{StateDir: b.TempDir(), NetNSDirs: []string{n.Path("netns")}, Sysfs: "/sys"}
			change(&options)
			n.Do(func() error {
				for b.Loop() {
					s, err := Node(options)
					check.Must(b, err)
					check.Equal(b, "namespaces", len(s.Namespaces), sandboxes+1)
					check.Equal(b, "notes", len(s.Notes), 0)
				}
				return nil
			})
		})
	}
	b.Run("command", func(b *testing.B) {
		for b.Loop() {
			n.Run(filepath.Join(n.Bin, "kubectl-plexus"), "inspect", "--netns", first.Path, "--netns-dir", n.Path("netns"), "--state-dir", b.TempDir())
		}
	})
}

// veth connects a sandbox to the bridge.
func veth(n *node.Node, s *node.Sandbox, i int, name string) {
	host := fmt.Sprintf("veth%d", i)
	n.Run("ip", "link", "add", host, "type", "veth", "peer", "name", name, "netns", s.Path)
	n.Run("ip", "link", "set", host, "master", "cbr0", "up")
	s.MustRun("ip", "addr", "add", fmt.Sprintf("10.1.%d.%d/16", i/200, i%200+2), "dev", name)
	s.MustRun("ip", "link", "set", name, "up")
}
