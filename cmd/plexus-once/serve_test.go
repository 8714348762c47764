package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// fake is a source that notes what is written to it.
type fake struct {
	mu      sync.Mutex
	written []string
	fails   map[string]bool // pods whose status cannot be written
	hangs   bool
	hook    func(types.Pod)
}

func (f *fake) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = append(f.written, what)
}

func (f *fake) Facts(_ context.Context, r *types.FactsRequest) (*types.Facts, error) {
	if r.Pod.Name == "gone" {
		return nil, types.Errorf(types.CodeTryAgainLater, "pod %s: not found", &r.Pod)
	}
	return &types.Facts{Pod: r.Pod}, nil
}

func (f *fake) PublishStatus(ctx context.Context, pod types.Pod, status []types.NetworkStatus) (bool, error) {
	if f.hook != nil {
		f.hook(pod)
	}
	if f.hangs {
		<-ctx.Done()
	}
	if f.hangs || f.fails[pod.Name] {
		return false, errors.New("unreachable")
	}
	f.note("status " + pod.Name + "=" + status[0].Name)
	return true, nil
}

func (f *fake) Event(ctx context.Context, pod types.Pod, e types.PodEvent) error {
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	f.note("event " + pod.Name + "=" + e.Reason)
	return nil
}

// dialogue serves one plugin, gives the answers to its lines, and ends with the
// plugin's end of the connection.
func dialogue(t *testing.T, s *server, lines ...string) []string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); s.serve(theirs) }()
	conn := rpc.NewConn(ours)
	var answers []string
	for _, line := range lines {
		if _, err := ours.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := conn.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, string(answer))
	}
	_ = ours.Close()
	<-done
	return answers
}

func serving(f *fake) *server {
	s := newServer(&options{})
	s.source = func() (source, error) { return f, nil }
	s.quiet = func() { f.note("quiet") }
	return s
}

const (
	askFacts   = `{"version":1,"facts":{"pod":{"namespace":"ns","name":"p"}}}`
	askPublish = `{"version":1,"publish":{"pod":{"namespace":"ns","name":"p"},"status":[{"name":"a"}],"events":[{"reason":"R"},{"reason":"S"}]}}`
	askEvents  = `{"version":1,"publish":{"pod":{"namespace":"ns","name":"p"},"events":[{"reason":"R"}]}}`
)

func TestServe(t *testing.T) {
	f := &fake{}
	got := dialogue(t, serving(f),
		"nonsense", `{"version":2,"facts":{}}`, `{"version":1}`, `{"version":1,"node":true}`, askFacts,
		strings.Replace(askFacts, `"p"`, `"gone"`, 1), askPublish)
	for i, want := range []string{
		`"code":100,"message":"request is not valid`,
		`request of version 2, this side speaks 1`,
		`request must have exactly one of`,
		`ask the agent`,
		`{"version":1,"facts":{"pod":{"namespace":"ns","name":"p"}}}`,
		`{"version":1,"error":{"code":11,"message":"pod ns/gone: not found"}}`,
		`{"version":1,"published":true}`,
	} {
		if !strings.Contains(got[i], want) {
			t.Errorf("answer %d is %s, want %s", i+1, got[i], want)
		}
	}
	if diff := cmp.Diff([]string{"status p=a", "quiet", "event p=R", "event p=S"}, f.written); diff != "" {
		t.Error(diff)
	}
}

func TestPublishWithoutStatus(t *testing.T) {
	f := &fake{}
	got := dialogue(t, serving(f), askEvents)
	if diff := cmp.Diff([]string{`{"version":1}`}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"quiet", "event p=R"}, f.written); diff != "" {
		t.Error(diff)
	}
}

// TestPublishIsBounded hangs the API server: the answer comes within the asker's
// time, and the end soon after.
func TestPublishIsBounded(t *testing.T) {
	for _, test := range []struct {
		line   string
		answer time.Duration
	}{
		{askPublish, publishTimeout},
		{strings.Replace(askPublish, `"publish":{`, `"publish":{"timeout":"2s",`, 1), 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{hangs: true}
			s := serving(f)
			begin := time.Now()
			answered := time.Duration(0)
			s.quiet = func() { answered = time.Since(begin) }
			got := dialogue(t, s, test.line)
			if !strings.Contains(got[0], "unreachable") {
				t.Error(got)
			}
			if answered >= test.answer {
				t.Errorf("answered after %s, the asker waits %s", answered, test.answer)
			}
			if took := time.Since(begin); took > answered+afterTimeout {
				t.Errorf("ended after %s", took)
			}
		})
	}
}

func TestPluginThatIsGone(t *testing.T) {
	f := &fake{}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	s := serving(f)
	s.quiet = func() { _ = ours.Close() } // before the answer
	go func() { defer close(done); s.serve(theirs) }()
	if _, err := ours.Write([]byte(askPublish + "\n")); err != nil {
		t.Fatal(err)
	}
	<-done
	if diff := cmp.Diff([]string{"status p=a", "event p=R", "event p=S"}, f.written); diff != "" {
		t.Error(diff)
	}
}

func TestSourceThatCannotBeHad(t *testing.T) {
	s := newServer(&options{kubeconfig: "/does/not/exist"})
	got := dialogue(t, s, askFacts, askPublish)
	for _, answer := range got {
		if !strings.Contains(answer, "kubeconfig /does/not/exist: stat /does/not/exist: no such file") {
			t.Error(answer)
		}
	}
}

func TestManifestsSource(t *testing.T) {
	got := dialogue(t, newServer(&options{manifests: t.TempDir()}), askFacts)
	if !strings.Contains(got[0], "pod ns/p: not found") {
		t.Error(got)
	}
}

func (*fake) Describe(context.Context, []types.ClaimedDevice) error { return nil }

func (*fake) ReadPodClaims(context.Context, *types.Pod) ([]types.ClaimedDevice, error) {
	return nil, nil
}
