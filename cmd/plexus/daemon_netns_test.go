package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/node"
)

// process is what a plugin left running, by the number that it wrote to a file.
type process struct {
	t    *testing.T
	proc string
}

func leftRunning(t *testing.T, n *node.Node, path string) *process {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(n.ReadFile(path)))
	if err != nil || pid < 2 {
		t.Fatalf("no number of a process: %v", err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	return &process{t, fmt.Sprintf("/proc/%d", pid)}
}

func (p *process) mustLive(when string) {
	p.t.Helper()
	stat, err := os.ReadFile(p.proc + "/stat")
	if err != nil || strings.Contains(string(stat), ") Z") {
		p.t.Errorf("the process is dead %s: %v", when, err)
	}
}

// has tells whether the process has inherited a file.
func (p *process) has(name string) bool {
	links, _ := filepath.Glob(p.proc + "/fd/*")
	return slices.ContainsFunc(links, func(link string) bool {
		target, _ := os.Readlink(link)
		return filepath.Base(target) == name
	})
}

// What a plugin leaves running on purpose, as a DHCP client, keeps nobody waiting and
// is not ended, though it has the descriptor of the lock.
func TestNetnsDaemonOfAPlugin(t *testing.T) {
	for name, start := range map[string]string{"as it is": "", "with a cleared environment": `env -i PATH="$PATH" `} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Pod("c1", nil)
			pod := n.Sandbox("c1")
			n.Plugin("daemon", `[ "$CNI_COMMAND" = ADD ] || exit 0
`+start+`setsid sleep 600 >/dev/null 2>&1 </dev/null &
echo $! >`+n.Path("pid")+`
echo '{"cniVersion": "1.0.0"}'
`)
			conf := n.Conf(node.Conf{"delegates": []node.Conf{node.ClusterBridge(), {"cniVersion": "1.0.0", "name": "d", "type": "daemon"}}})
			n.Add(pod, conf)
			daemon := leftRunning(t, n, n.Path("pid"))
			if !daemon.has("c1.lock") {
				t.Error("the process has no descriptor of the lock: this tests nothing")
			}
			daemon.mustLive("after ADD")
			n.Check(pod, conf)
			daemon.mustLive("after CHECK")
			n.Del(pod, conf)
			daemon.mustLive("after DEL")
			n.MustBeClean()
		})
	}
}
