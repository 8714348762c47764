package install

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// bridgeList is the configuration of a default network.
const bridgeList = `{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [
	{"type": "bridge", "ipam": {"type": "host-local"}},
	{"type": "portmap", "capabilities": {"portMappings": true, "snat": false}}]}`

// testPace is for tests that wait for what happens, not for time.
var testPace = pace{recheck: 50 * time.Millisecond, settle: time.Millisecond, urgent: time.Millisecond, remind: time.Minute, first: time.Millisecond, longest: 10 * time.Millisecond}

// testNode is the folders of a node without a runtime.
type testNode struct {
	t       *testing.T
	options Options
	logs    *logBuffer
}

// newTestNode makes a node with the executables of bridgeList, and something to install.
func newTestNode(t *testing.T) *testNode {
	t.Helper()
	dir := t.TempDir()
	n := &testNode{t: t, logs: &logBuffer{}, options: Options{
		From: filepath.Join(dir, "from"), BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "net.d"), ConfName: DefaultConfName,
		NetworkName: DefaultNetworkName, Socket: filepath.Join(dir, "run", "agent.sock"), PodResources: types.DefaultPodResourcesSocket, CNIDir: filepath.Join(dir, "cni"),
	}}
	for _, folder := range []string{n.options.From, n.options.BinDir, n.options.ConfDir} {
		check.Must(t, os.Mkdir(folder, 0o755))
	}
	for _, name := range []string{"bridge", "host-local", "portmap"} {
		n.executable(filepath.Join(n.options.BinDir, name), "")
	}
	for _, name := range executables {
		n.executable(filepath.Join(n.options.From, name), "echo "+name+" v1")
	}
	return n
}

// executable writes a script.
func (n *testNode) executable(path, body string) {
	n.t.Helper()
	check.Must(n.t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
}

// conf writes a file into the folder of configurations as careful people do.
func (n *testNode) conf(name, content string) {
	n.t.Helper()
	temp := filepath.Join(n.options.ConfDir, name+".new")
	check.Must(n.t, os.WriteFile(temp, []byte(content), 0o600))
	check.Must(n.t, os.Rename(temp, n.confPath(name)))
}

func (n *testNode) confPath(name string) string { return filepath.Join(n.options.ConfDir, name) }
func (n *testNode) ours() string                { return n.confPath(n.options.ConfName) }

func (n *testNode) installer() *Installer {
	n.t.Helper()
	i, err := New(n.options, n.logs.logger())
	check.Must(n.t, err)
	i.pace = testPace
	return i
}

// files gives the names of the files in the node's folders.
func (n *testNode) files() []string {
	n.t.Helper()
	names := []string{}
	for _, dir := range []string{n.options.BinDir, n.options.ConfDir} {
		entries, err := os.ReadDir(dir)
		check.Must(n.t, err)
		for _, entry := range entries {
			names = append(names, filepath.Base(dir)+"/"+entry.Name())
		}
	}
	return names
}

// tree gives the content and the mode of every file below the folders of the node.
func (n *testNode) tree() map[string]string {
	n.t.Helper()
	return check.Tree(n.t, n.options.BinDir, n.options.ConfDir)
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// eventually demands that something comes true, and shows the log if it does not.
func (n *testNode) eventually(what string, is func() bool) {
	n.t.Helper()
	check.Eventually(n.t, what, 30*time.Second, func() error {
		if !is() {
			return fmt.Errorf("the log is\n%s", n.logs)
		}
		return nil
	})
}

func (n *testNode) logged(words string) func() bool {
	return func() bool { return strings.Contains(n.logs.String(), words) }
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check.Must(t, err)
	return string(data)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (n *testNode) bin(name string) string { return filepath.Join(n.options.BinDir, name) }

// folderFor puts a folder in the place of an executable, which a follower may put back meanwhile.
func (n *testNode) folderFor(name string) {
	n.t.Helper()
	n.eventually("a folder has the name", func() bool {
		return os.RemoveAll(n.bin(name)) == nil && os.MkdirAll(n.bin(name+"/x"), 0o755) == nil
	})
}

func countLines(text, words string) int {
	count := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, words) {
			count++
		}
	}
	return count
}
