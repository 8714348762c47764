package window

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// uiPage is a browser at the page of a command.
type uiPage struct {
	base   string
	client *http.Client
}

// enter goes in by the line that the command prints, over a transport.
func enter(t *testing.T, out io.Reader, transport http.RoundTripper) *uiPage {
	t.Helper()
	line, err := bufio.NewReader(out).ReadString('\n')
	check.Must(t, err)
	base, _, found := strings.Cut(strings.TrimSpace(line), "/?token=")
	check.Equal(t, "the address has a token", found, true)
	jar, err := cookiejar.New(nil)
	check.Must(t, err)
	p := &uiPage{base, &http.Client{Jar: jar, Transport: transport}}
	text, err := p.get(t.Context(), strings.TrimPrefix(strings.TrimSpace(line), base))
	check.Must(t, err)
	check.Contains(t, "the first page", text, "<h1>Overview</h1>")
	return p
}

func (p *uiPage) get(ctx context.Context, what string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+what, nil)
	if err != nil {
		return "", err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// The page of saved nodes shows what path says of them, by the same code, and ends well with Ctrl-C.
func TestUIFromSnapshots(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	args := []string{"ui", "--from", "../../docs/paths/three-networks/node1.json", "--from", "../../docs/paths/three-networks/node2.json"}
	go func() {
		ended <- Run(ctx, genericiooptions.IOStreams{In: strings.NewReader(""), Out: in, ErrOut: io.Discard}, args)
	}()
	page := enter(t, out, nil)
	check.Contains(t, "loopback", page.base, "http://127.0.0.1:")
	for what, want := range map[string]string{
		"/": "default/db",
		"/path?from=web&to=default/db&interface=net0":         "pod default/web net0 (10.20.8.10) → pod default/db net0 (10.20.8.20), network default/lan0",
		"/path?from=default/web&to=192.0.2.1:80":              "port 80",
		"/path?from=default/web&to=default/db":                "are on 3 networks together",
		"/path?from=default/web&to=default/db:x":              "is no port",
		"/path?from=default/web&to=a/":                        "is no end of a path",
		"/path?from=default/web&to=default/db&interface=net9": "has no interface net9",
		"/path?from=/run/netns/none&to=default/db":            "not found on this node",
	} {
		text, err := page.get(ctx, what)
		check.Must(t, err)
		check.Contains(t, what, text, want)
	}
	interrupt()
	check.Equal(t, "exit code", <-ended, exitFine)
}

func TestUIRefuses(t *testing.T) {
	withCluster(t, false)
	one := "../../docs/paths/ptp/node1.json"
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an argument":             {[]string{"shop/web"}, exitUsage, "unknown command"},
		"both ways":               {[]string{"--node", "n1", "--from", one}, exitUsage, "give one of the two"},
		"a node twice":            {[]string{"--node", "n1", "--node", "n2", "--node", "n1"}, exitUsage, "name each node once"},
		"a file twice":            {[]string{"--from", one, "--from", one}, exitUsage, "are both of node1"},
		"a folder of another":     {[]string{"--node", "n1", "--state-dir", "/x"}, exitUsage, "--state-dir is about this machine"},
		"a runtime of a snapshot": {[]string{"--from", one, "--runtime-endpoint", "x"}, exitUsage, "--runtime-endpoint is about this machine"},
		"too short a time":        {[]string{"--keep", "1s"}, exitUsage, "--keep: "},
		"a port":                  {[]string{"--from", one, "--port", "70000"}, exitUsage, "invalid argument"},
		"no cluster":              {[]string{"--node", "n1"}, exitBlind, "no cluster is known"},
		"no file":                 {[]string{"--from", "none.json"}, exitBlind, "none.json"},
		"no snapshot":             {[]string{"--from", "ui_test.go"}, exitBlind, "this is not a snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, "", append([]string{"ui"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "stderr", got.stderr, tc.want)
			check.Equal(t, "stdout", got.stdout, "")
		})
	}
}

// A port that is taken is not taken elsewhere.
func TestUIPortIsTaken(t *testing.T) {
	first, err := (&uiOptions{}).listen(t.Context())
	check.Must(t, err)
	defer first.Close()
	_, port, _ := strings.Cut(first.Addr().String(), ":")
	got := runWith(t, "", "ui", "--from", "../../docs/paths/ptp/node1.json", "--port", port)
	check.Equal(t, "exit code", got.code, exitBlind)
	check.Contains(t, "stderr", got.stderr, "--port "+port, "in use")
}

// failing is a node that gives what it has, until it has nothing more.
type failing struct {
	closing
	left []*inspect.Snapshot
}

var errGone = errors.New("the stream has ended")

func (f *failing) Snapshot(context.Context, inspect.Request) (*inspect.Snapshot, error) {
	if len(f.left) == 0 {
		return nil, errGone
	}
	one := f.left[0]
	f.left = f.left[1:]
	return one, nil
}

// A node stays open; one that fails is opened anew, once for each reading.
func TestLasting(t *testing.T) {
	one, two := inspect.New(), inspect.New()
	opened := []*failing{{left: []*inspect.Snapshot{one, two}}, {left: []*inspect.Snapshot{one}}, {}}
	times := 0
	l := &lasting{open: func() (inspect.Node, error) {
		if times == len(opened) {
			return nil, errNoCluster
		}
		times++
		return opened[times-1], nil
	}}
	for i, want := range []struct {
		times int
		err   error
	}{{1, nil}, {1, nil}, {2, nil}, {3, errGone}, {3, errNoCluster}} {
		_, err := l.Snapshot(t.Context(), inspect.Request{})
		check.Equal(t, "error", errors.Is(err, want.err), true)
		check.Equal(t, "times that it was opened, at reading "+string(rune('1'+i)), times, want.times)
		check.Must(t, l.Close()) // others read it too
	}
	check.Equal(t, "those that failed are closed", []bool{opened[0].closed, opened[1].closed, opened[2].closed}, []bool{true, true, true})
	check.Must(t, l.end())

	last := &failing{left: []*inspect.Snapshot{one}}
	l = &lasting{node: last}
	check.Must(t, l.end())
	check.Equal(t, "closed at the end", last.closed, true)
}

// Who goes away while a node is read does not make it fail for the others.
func TestLastingOutlivesItsReader(t *testing.T) {
	node := &failing{}
	l := &lasting{node: node}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Snapshot(gone, inspect.Request{})
	check.Equal(t, "error", errors.Is(err, errGone), true)
	check.Equal(t, "closed", node.closed, false)
}

// A path leads to a pod of a node that the page does not show: it is opened once, and a shown one is not opened again.
func TestUIOpensOtherNodesOnce(t *testing.T) {
	shown := &shownNode{lasting: &lasting{}, name: "n1"}
	nodes := &shownNodes{options: &uiOptions{}, shown: []*shownNode{shown}, others: map[string]*lasting{}}
	for name, want := range map[string]bool{"n1": true, "n2": false} {
		first, err := nodes.openOther(t.Context(), name)
		check.Must(t, err)
		again, err := nodes.openOther(t.Context(), name)
		check.Must(t, err)
		check.Equal(t, name+" is opened once", first == again, true)
		check.Equal(t, name+" is the one that is shown", first == inspect.Node(shown.lasting), want)
	}
	check.Must(t, nodes.close())
}

// The path of a page takes nothing of a saved snapshot away, and adds nothing to it.
func TestUIPathLeavesSnapshotsAsTheyWere(t *testing.T) {
	s := inspect.New()
	s.Answers = make([]inspect.Answer, 1, 8)
	one := askable(s)
	one.Answers = append(one.Answers, inspect.Answer{Refused: "x"})
	check.Equal(t, "answers", []int{len(s.Answers), len(one.Answers)}, []int{1, 2})
	check.Equal(t, "behind them", s.Answers[:2][1].Refused, "")
}

// Without a name for TAB there is nothing of this command but its flags.
func TestUICompletion(t *testing.T) {
	file, err := filepath.Abs(saved)
	check.Must(t, err)
	check.Equal(t, "arguments", completed(t, "ui", "--from", file, ""), noFiles)
}
