package delegate

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// acts are the system calls by which a plugin would do something, or keep others from it.
const acts = "setns,unshare,socket,connect,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,flock,mount,umount2,bpf,execve,openat,kill,truncate,ftruncate,linkat,symlinkat"

var (
	act  = regexp.MustCompile(`^\d+ +(\w+)\(`)
	look = regexp.MustCompile(`^\d+ +(read\(|openat\([^)]*O_RDONLY(\|O_CLOEXEC)?([),]| <unfinished))`)
)

// TestNetnsAheadPluginsWait holds that every reference plugin and ours wait for their
// configuration before they do anything, and do nothing where they never get one, as when
// plexus is killed.
func TestNetnsAheadPluginsWait(t *testing.T) {
	n := newSpecSandbox(t, "second")
	paths, err := filepath.Glob(node.Folder(t, "PLEXUS_CNI_BIN") + "/*")
	check.Must(t, err)
	if len(paths) < 10 {
		t.Fatalf("there are only %d plugins", len(paths))
	}
	for _, name := range []string{"plexus-sriov", "plexus-vhostuser"} {
		paths = append(paths, node.Executable(t, "PLEXUS_BIN", name))
	}
	for _, path := range paths {
		for _, command := range []string{"ADD", "DEL"} {
			t.Run(filepath.Base(path)+" "+command, func(t *testing.T) {
				if !waits(path) {
					t.Fatal("it is not known to wait")
				}
				args := &invoke.Args{Command: command, ContainerID: "c1", NetNS: n.call.Sandbox.NetNS, IfName: "net0", Path: filepath.Dir(path)}
				_, after, _ := strings.Cut(traceWithoutConfiguration(t, path, args.AsEnv()), "\n") // of its execve
				for line := range strings.Lines(after) {
					if act.MatchString(line) && !look.MatchString(line) {
						t.Errorf("without a configuration it does: %s", line)
					}
				}
			})
		}
	}
}

// traceWithoutConfiguration runs a plugin that gets nothing, and gives its system calls.
func traceWithoutConfiguration(t *testing.T, path string, environ []string) string {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-o", trace, "-e", "trace=read,"+acts, path)
	cmd.Env = environ
	stdin, err := cmd.StdinPipe()
	check.Must(t, err)
	check.Must(t, cmd.Start())
	read := func() string { data, _ := os.ReadFile(trace); return string(data) }
	check.Eventually(t, "the plugin to read", time.Minute, func() error {
		if !strings.Contains(read(), "read(0,") {
			return errors.New(read())
		}
		return nil
	})
	check.Must(t, stdin.Close())
	if err := cmd.Wait(); err == nil {
		t.Error("it takes nothing for a configuration")
	}
	return read()
}
