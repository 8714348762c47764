package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// FuzzServe holds that whatever a peer sends, every message gets exactly one answer, one
// line, and that nothing that a peer reports makes the agent panic.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{
		goodRequest("p"), "", "\n\n", "garbage\n", goodRequest("p") + "torn",
		`{"version":1,"publish":{"report":{"command":"ADD","traceparent":"00-` + strings.Repeat("1", 32) + "-" + strings.Repeat("2", 16) + `-01","phases":[{"name":"delegate","plugin":"\ud800","after":"-1h","took":"9999h","code":7}]}}}` + "\n",
		`{"version":2}` + "\n" + goodRequest("q"), strings.Repeat("x", 5000) + "\n" + goodRequest("p"),
		`{"version":1,"facts":{"pod":{"annotations":{"k8s.v1.cni.cncf.io/networks":"a,b@c"}}}}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := testServer()
		s.limits.message = 4 << 10
		s.publish = func(request *types.PublishRequest) {
			if request.Report != nil {
				s.metrics.observe(request.Report)
				(&agent{log: noLog()}).logFailure(&request.Pod, request.Report)
				spansOf(t, &request.Pod, request.Report)
			}
		}
		got := exchange(t, s, sent)
		if want := answersTo(sent, s.limits.message); len(got) != want {
			t.Fatalf("%d answers, want %d: %q", len(got), want, got)
		}
		for _, line := range got {
			var answer types.Response
			if err := json.Unmarshal(line, &answer); err != nil || answer.Version != types.WireVersion {
				t.Errorf("answer %q: %v", line, err)
			}
		}
		if n := s.refusals(t, "panic"); n != 0 {
			t.Errorf("%v panics", n)
		}
	})
}

// answersTo gives the number of answers: one for each message, the last one
// being that of a message that is torn or too long.
func answersTo(sent []byte, limit int) int {
	lines := bytes.Split(sent, []byte("\n"))
	for i, line := range lines {
		switch torn := i == len(lines)-1; {
		case torn && len(line) == 0:
			return i
		case torn || len(line) > limit:
			return i + 1
		}
	}
	return len(lines)
}

// exchange sends bytes to the server and gives the lines that it answers.
func exchange(t *testing.T, s *server, sent []byte) (lines [][]byte) {
	t.Helper()
	ours, theirs := socketPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.handle(context.Background(), theirs)
	}()
	go func() {
		_, _ = ours.Write(sent) // the server may have gone
		_ = ours.CloseWrite()
	}()
	var answer []byte
	for buffer := make([]byte, 4096); ; {
		n, err := ours.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if err != nil {
			break // the end, or a reset because it has read no further
		}
	}
	<-done
	if len(answer) == 0 {
		return nil
	}
	if !bytes.HasSuffix(answer, []byte("\n")) {
		t.Fatalf("the last answer is torn: %q", answer)
	}
	return bytes.Split(bytes.TrimSuffix(answer, []byte("\n")), []byte("\n"))
}

func socketPair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check.Must(t, err)
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		_ = file.Close()
		check.Must(t, err)
		conns[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	check.Must(t, conns[0].SetDeadline(time.Now().Add(patience)))
	return conns[0], conns[1]
}
