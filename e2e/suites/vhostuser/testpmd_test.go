package vhostuser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// limit ends what would never end. It is no measure of anything.
const limit = 2 * time.Minute

// testpmd is a DPDK application in a pod: in its network namespace, with the pod's folder
// mounted where a pod mounts it, and knowing no more than the file there says.
type testpmd struct {
	t     *testing.T
	stdin io.WriteCloser
	cmd   *exec.Cmd

	mu    sync.Mutex
	said  bytes.Buffer
	more  *sync.Cond
	ended bool
}

// mountAndRun gives a pod's view: its folder where it mounts it, and nothing else of
// the socket folders.
const mountAndRun = `mkdir -p "$2" && mount --bind "$1" "$2" && shift 2 && exec "$@"`

// startApp starts testpmd in the pod in a mode of forwarding, as the application's
// configuration file tells it to.
func (p *pod) startApp(mac, mode string, more ...string) *testpmd {
	p.t.Helper()
	file := p.appConfig()
	vdev := "net_virtio_user0,path=" + file.Socket + ",queues=" + strconv.Itoa(file.Queues) + ",server=1,mac=" + mac
	if file.Mode != "server" {
		p.t.Fatalf("the application is to be the %s", file.Mode)
	}
	prefix := "app" + strconv.Itoa(os.Getpid()) + p.sandbox.ID
	args := []string{
		"--net=" + p.sandbox.Path, "--", "unshare", "--mount", "sh", "-c", mountAndRun, "sh", p.folder(), podDir, "stdbuf", "-oL", p.ovs.bin("dpdk-testpmd"),
		"--lcores=(0,1)@1", "--no-huge", "-m", "128", "--no-pci", "--file-prefix=" + prefix, "-d", p.ovs.pmd("mempool_ring"), "-d", p.ovs.pmd("net_virtio"),
		"-d", p.ovs.pmd("bus_vdev"), "--vdev=" + vdev, "--", "-i", "--forward-mode=" + mode, "--total-num-mbufs=2048",
	}
	a := &testpmd{t: p.t, cmd: exec.Command("nsenter", append(args, more...)...)}
	a.more = sync.NewCond(&a.mu)
	a.cmd.Env = p.ovs.environ()
	a.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	a.run(p)
	return a
}

func (a *testpmd) run(p *pod) {
	a.t.Helper()
	stdin, err := a.cmd.StdinPipe()
	check.Must(a.t, err)
	a.stdin = stdin
	out, in, err := os.Pipe()
	check.Must(a.t, err)
	a.cmd.Stdout, a.cmd.Stderr = in, in
	p.node.Do(a.cmd.Start)
	check.Must(a.t, in.Close())
	timer := time.AfterFunc(limit, a.kill)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.listen(out)
		_ = a.cmd.Wait()
		timer.Stop()
	}()
	a.t.Cleanup(func() {
		a.kill()
		<-done
		if a.t.Failed() {
			a.t.Logf("the application of %s said:\n%s", p.sandbox.ID, a.said.String())
		}
	})
}

func (a *testpmd) kill() { _ = unix.Kill(-a.cmd.Process.Pid, unix.SIGKILL) }

// listen keeps what is said, until the end of it.
func (a *testpmd) listen(out io.ReadCloser) {
	defer out.Close()
	reader := bufio.NewReader(out)
	buffer := make([]byte, 4096)
	for {
		n, err := reader.Read(buffer)
		a.mu.Lock()
		a.said.Write(buffer[:n])
		a.ended = err != nil
		a.more.Broadcast()
		a.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// hear waits until something is said that is new, and forgets all before its end.
func (a *testpmd) hear(pattern string) []string {
	a.t.Helper()
	re := regexp.MustCompile(pattern)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if at := re.FindSubmatchIndex(a.said.Bytes()); at != nil {
			match := re.FindStringSubmatch(a.said.String())
			a.said.Next(at[1])
			return match
		}
		if a.ended {
			a.t.Fatalf("the application ended before it said %q: %s", pattern, a.said.String())
		}
		a.more.Wait()
	}
}

func (a *testpmd) do(command string) {
	a.t.Helper()
	_, err := io.WriteString(a.stdin, command+"\n")
	check.Must(a.t, err)
}

// counters gives how many packets the application has received and sent.
func (a *testpmd) counters() (received, sent int) {
	a.t.Helper()
	a.do("show port stats all")
	numbers := a.hear(`RX-packets: (\d+)[^\n]*\n(?:[^\n]*\n)*?\s*TX-packets: (\d+)`)
	received, err := strconv.Atoi(numbers[1])
	check.Must(a.t, err)
	sent, err = strconv.Atoi(numbers[2])
	check.Must(a.t, err)
	return received, sent
}

func (a *testpmd) quit() {
	a.t.Helper()
	a.do("stop")
	a.do("quit")
	a.hear(`Bye\.\.\.`)
}

// appFile is what the tests read of the application's file.
type appFile struct {
	Socket string
	Mode   string
	Queues int
	IPs    []struct{ Address string }
}

func (p *pod) appConfig() appFile {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.folder(), "net0", "config.json"))
	check.Must(p.t, err)
	var file appFile
	check.Must(p.t, json.Unmarshal(data, &file))
	return file
}
