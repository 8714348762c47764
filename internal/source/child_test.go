package source

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

func marshal(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var kubeconfig = types.Config{Kubeconfig: "/kubeconfig", PodResourcesSocket: "/pr.sock", DeviceCheckpoint: "/checkpoint"}

// What a plexus-once does that gives no facts is an error that says so, with what it
// wrote to stderr. One that gave no answer is not asked again.
func TestChildFails(t *testing.T) {
	for mode, test := range map[string]struct {
		code   uint
		is     []error
		stderr string
		kept   bool // for the next question
	}{
		"dies":                 {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer}, stderr: "plexus-once: last words"},
		"dies after much talk": {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer}, stderr: "plexus-once: " + strings.Repeat("x", maxStderr)},
		"closes its socket":    {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer}, stderr: "plexus-once: still here"},
		"hangs":                {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer, os.ErrDeadlineExceeded}},
		"half":                 {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer}},
		"other version":        {code: types.CodeTryAgainLater, is: []error{rpc.ErrNoAnswer}},
		"no facts":             {kept: true},
		"error":                {code: types.CodeInvalidConfig, kept: true},
	} {
		t.Run(mode, func(t *testing.T) {
			config := kubeconfig
			s := newSource(t, &config, installChild(t, mode))
			makeEnd(t)
			if mode == "closes its socket" || mode == "other version" { // their stderr does not end
				s.patience.dial = 100 * time.Millisecond
			}
			ctx, cancel := context.WithCancel(t.Context())
			if mode == "hangs" {
				ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			}
			defer cancel()
			c, err := s.startedChild()
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Facts(ctx, &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
			if err == nil || types.CodeOf(err, 0) != test.code || delegate.PluginDetails(err) != test.stderr || (s.child != nil) != test.kept {
				t.Errorf("got %v of code %d, kept: %v, details %q", err, types.CodeOf(err, 0), s.child != nil, delegate.PluginDetails(err))
			}
			if c.isClosed() == test.kept {
				t.Errorf("its connection and its stderr are closed: %v", c.isClosed())
			}
			if n := strings.Count(err.Error(), rpc.ErrNoAnswer.Error()); n > 1 {
				t.Errorf("the error says %d times that there is no answer: %v", n, err)
			}
			for _, is := range test.is {
				if !errors.Is(err, is) {
					t.Errorf("%v is not %v", err, is)
				}
			}
			if wantWire := mode == "error"; errors.As(err, new(*types.WireError)) != wantWire {
				t.Errorf("%v is an answer: %v, want %v", err, !wantWire, wantWire)
			}
		})
	}
}

func (c *child) isClosed() bool {
	return c.conn.SetDeadline(time.Time{}) != nil && c.stderr.SetDeadline(time.Time{}) != nil
}

// makeEnd makes the pipe on which a plexus-once waits that outlives its socket.
func makeEnd(t *testing.T) {
	t.Helper()
	path := filepath.Join(os.Getenv(childFolderEnv), "end")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
}

func TestChildIsNotExecutable(t *testing.T) {
	dir := emptyFolder(t)
	if err := os.WriteFile(filepath.Join(dir, childName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := kubeconfig
	s := newSource(t, &config, dir)
	if _, err := s.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}}); !errors.Is(err, fs.ErrPermission) || s.child != nil {
		t.Errorf("got %v", err)
	}
}

// The event about a plexus-once that gave no answer goes out by another one.
func TestChildIsReplaced(t *testing.T) {
	config := kubeconfig
	s := newSource(t, &config, installChild(t, "dies"))
	if _, err := s.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}}); !errors.Is(err, rpc.ErrNoAnswer) {
		t.Fatal(err)
	}
	setMode(t, "ok")
	settled, err := s.Publish(t.Context(), &types.PublishRequest{Events: []types.PodEvent{{Message: "m"}}})
	if err != nil || !settled {
		t.Errorf("got %v, %v", settled, err)
	}
	if starts := len(notes[start](t, "starts")); starts != 2 {
		t.Errorf("plexus-once was started %d times, want 2", starts)
	}
}

// One plexus-once serves the whole call, started as its source needs it.
func TestChildIsStarted(t *testing.T) {
	node := []string{"--state-dir", "/state", "--pod-resources-socket", "/pr.sock", "--device-checkpoint", "/checkpoint"}
	for api, args := range map[string][]string{
		"kubeconfig": slices.Concat(node, []string{"--kubeconfig", "/kubeconfig"}),
		"in-cluster": node,
		"manifests":  {"--manifests", "/manifests"},
	} {
		t.Run(api, func(t *testing.T) {
			config := types.Config{PodResourcesSocket: "/pr.sock", DeviceCheckpoint: "/checkpoint"}
			s := newSource(t, &config, installChild(t, "ok"))
			setAPI(s, api)
			for range 2 {
				facts, err := s.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
				if err != nil || facts.Pod.Annotations["from"] != "once" {
					t.Fatalf("got %+v, %v", facts, err)
				}
			}
			want := []start{{Args: args, Env: []string{"1", "off", "128MiB"}, LeadsASession: true, Marked: true}}
			if diff := cmp.Diff(want, notes[start](t, "starts")); diff != "" {
				t.Errorf("starts (-want +got):\n%s", diff)
			}
		})
	}
}

// What the agent has used of the time, plexus-once has not.
func TestChildHasTheTimeThatIsLeft(t *testing.T) {
	config := kubeconfig
	s := newSource(t, &config, installChild(t, "ok"))
	for _, timeout := range []types.Duration{0, types.Duration(2 * s.patience.facts)} {
		request := &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}, Timeout: timeout}
		if _, err := s.Facts(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	for _, request := range notes[types.Request](t, "requests") {
		if got := time.Duration(request.Facts.Timeout); got <= 0 || got >= s.patience.facts {
			t.Errorf("plexus-once has %v, want what is left of %v", got, s.patience.facts)
		}
	}
}

// The plexus-once beside plexus is the one of its version, and comes first.
func TestFindChild(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside, onPath := t.TempDir(), t.TempDir()
	copyFile(t, self, filepath.Join(beside, "plexus"))
	ask := func(cniPath ...string) string {
		out, err := exec.Command(filepath.Join(beside, "plexus"), cniPath...).Output()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := ask(onPath); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	for _, dir := range []string{onPath, beside} {
		if err := os.WriteFile(filepath.Join(dir, childName), nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if got, want := ask(onPath), filepath.Join(dir, childName); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o700); err != nil {
		t.Fatal(err)
	}
}
