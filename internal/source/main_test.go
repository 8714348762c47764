package source

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// TestMain makes this executable a plexus-once, or a plexus, where it is started under
// that name.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case childName:
		os.Exit(fakeChild())
	case "plexus":
		path, err := findChild(os.Args[1:])
		fmt.Print(path)
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each plexus-once of a test with -race ends a second late
	os.Exit(m.Run())
}

// What the environment tells the fake of plexus-once.
const (
	childModeEnv   = "PLEXUS_TEST_CHILD_MODE"
	childFolderEnv = "PLEXUS_TEST_CHILD_FOLDER"
)

// A start is what a plexus-once finds when it is started.
type start struct {
	Args          []string
	Env           []string // what plexus sets for it
	LeadsASession bool
	Marked        bool // so that it is not taken for what a plugin has left
}

// fakeChild is a plexus-once that does what its mode says, and notes in the folder how
// it was started and what it was asked.
func fakeChild() int {
	sid, _ := unix.Getsid(0)
	note("starts", start{os.Args[1:], []string{os.Getenv("GOMAXPROCS"), os.Getenv("GOGC"), os.Getenv("GOMEMLIMIT")}, sid == os.Getpid(), os.Getenv(journal.RunEnv) != ""})
	file := os.NewFile(3, "socket")
	conn, err := net.FileConn(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	_ = file.Close()
	for c := rpc.NewConn(conn); ; {
		line, err := c.ReadLine()
		if err != nil {
			return 0
		}
		request, err := types.ParseRequest(line)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		note("requests", request)
		answerAsChild(os.Getenv(childModeEnv), conn, request)
	}
}

func answerAsChild(mode string, conn net.Conn, request *types.Request) {
	switch mode {
	case "dies":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(1)
	case "dies after much talk":
		fmt.Fprint(os.Stderr, strings.Repeat("x", 4*maxStderr))
		os.Exit(1)
	case "closes its socket":
		fmt.Fprintln(os.Stderr, "still here")
		_ = conn.Close()
		file, _ := os.Open(filepath.Join(os.Getenv(childFolderEnv), "end"))
		_, _ = file.Read(make([]byte, 1)) // until the test is over
		os.Exit(0)
	case "hangs":
	case "half":
		fmt.Fprint(conn, `{"version":1,"facts":{"po`)
		os.Exit(0)
	case "other version":
		fmt.Fprintln(conn, `{"version":2,"facts":{"pod":{"namespace":"ns","name":"p"}}}`)
	case "no facts", "unpublished":
		fmt.Fprintln(conn, `{"version":1}`)
	case "error":
		fmt.Fprintln(conn, `{"version":1,"error":{"code":7,"message":"no such pod"}}`)
	default:
		response := &types.Response{Version: types.WireVersion, Published: request.Publish != nil}
		if request.Facts != nil {
			response.Facts = &types.Facts{Pod: podFrom("once")}
		}
		_ = rpc.NewConn(conn).Send(response)
	}
}

// note adds a line of JSON to a file of the folder.
func note(name string, value any) {
	line, _ := json.Marshal(value)
	file, err := os.OpenFile(filepath.Join(os.Getenv(childFolderEnv), name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// notes gives what the fakes of plexus-once noted.
func notes[T any](t *testing.T, name string) []T {
	t.Helper()
	file, err := os.Open(filepath.Join(os.Getenv(childFolderEnv), name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []T
	for decoder := json.NewDecoder(file); ; {
		var one T
		if err := decoder.Decode(&one); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// installChild gives a folder with a plexus-once that does what mode says.
func installChild(t *testing.T, mode string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := emptyFolder(t)
	if err := os.Symlink(self, filepath.Join(dir, childName)); err != nil {
		t.Fatal(err)
	}
	setMode(t, mode)
	return dir
}

// setMode says what every plexus-once does that is started from now on.
func setMode(t *testing.T, mode string) {
	t.Helper()
	t.Setenv(childModeEnv, mode)
}

// emptyFolder gives a folder without a plexus-once, in which one would note what it sees.
func emptyFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(childFolderEnv, dir)
	return dir
}

// podFrom gives the pod of these tests, and says who tells of it.
func podFrom(who string) types.Pod {
	return types.Pod{Namespace: "ns", Name: "p", Annotations: map[string]string{"from": who}}
}

// newSource makes a source that waits far longer than any test may take.
func newSource(t *testing.T, config *types.Config, cniPath string) *Source {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	s := New(config, "/state", []string{cniPath}, slog.New(slog.DiscardHandler))
	s.patience = patience{agent: time.Minute, facts: time.Hour, retry: time.Hour, dial: time.Minute}
	t.Cleanup(func() {
		if s.child != nil {
			s.child.close()
		}
	})
	return s
}
