package window

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/capture"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// What says nothing, or not all, is refused before anything is looked at.
func TestCaptureRefusals(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	check.Must(t, os.WriteFile(program, []byte("1\n6 0 0 262144\n"), 0o600))
	for want, args := range map[string][]string{
		"capture takes a pod, as NAMESPACE/POD":           {"capture"},
		`filter: column 1: "prot" is not known`:           {"capture", "shop/web", "prot 5"},
		"\"to\" is the far end of --path":                 {"capture", "shop/web", "to", "shop/db"},
		`"to" takes the far end`:                          {"capture", "shop/web", "--path", "to"},
		"--path begins at one interface":                  {"capture", "shop/web", "--path", "-i", "net0", "-i", "net1", "to", "shop/db"},
		"--path takes the far end, as --path to":          {"capture", "shop/web", "--path"},
		`write it into the filter, as "port 80"`:          {"capture", "shop/web", "--path", "to", "shop/db:80"},
		`--bpf and the filter "icmp" both choose packets`: {"capture", "shop/web", "--bpf", program, "icmp"},
		"--bpf /none: open /none":                         {"capture", "shop/web", "--bpf", "/none"},
		"-w names no file":                                {"capture", "shop/web", "--write="},
		"-i names no interface":                           {"capture", "shop/web", "-i", "net0", "-i", ""},
		"--bpf names no file":                             {"capture", "shop/web", "--bpf", ""},
		"--count, --duration and --snapshot-length":       {"capture", "shop/web", "-c", "-1"},
		`"tcp:tcp": "tcp" is no port`:                     {"path", "shop/web", "to", "tcp:tcp"},
		"--probe: there is no probe of \"sctp\"":          {"path", "shop/web", "to", "shop/db", "--probe=sctp"},
		"--probe=tcp takes a port of the far end":         {"path", "shop/web", "to", "shop/db", "--probe=tcp"},
		"--probe sends packets on the nodes, and --from":  {"path", "shop/web", "to", "shop/db", "--probe", "--from", "x.json"},
		"--why sends packets on the nodes, and --from":    {"path", "shop/web", "to", "shop/db", "--why", "--from", "x.json"},
		"a probe of icmp has no port":                     {"path", "shop/web", "to", "shop/db:80", "--probe"},
		"the protocol of a probe is written --probe=udp":  {"path", "shop/web", "to", "shop/db", "--probe", "udp"},
		"--wait: 2m0s is not between 0 and 1m0s":          {"path", "shop/web", "to", "shop/db", "--probe", "--wait", "2m"},
	} {
		got := runWith(t, "", args...)
		check.Equal(t, want+": exit code", got.code, exitUsage)
		check.Contains(t, "error", got.stderr, want)
	}
}

// An old capture is there until there is a new one.
func TestReplacing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.pcapng")
	check.Must(t, os.WriteFile(path, []byte("a long old capture"), 0o644)) //nolint:gosec // that is the matter
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	check.Must(t, err)
	r := &replacing{file: file}
	data, err := os.ReadFile(path)
	check.Must(t, err)
	check.Equal(t, "before anything is written", string(data), "a long old capture")
	for range 2 {
		_, err = r.Write([]byte("new"))
		check.Must(t, err)
	}
	r.whole = 3
	check.Must(t, r.close())
	data, err = os.ReadFile(path)
	check.Must(t, err)
	check.Equal(t, "after that, without half a packet", string(data), "new")
	info, err := os.Stat(path)
	check.Must(t, err)
	check.Equal(t, "who may read it", info.Mode().Perm(), os.FileMode(private))
}

// watchedNode is a node that sees a packet, and then watches on, or breaks off.
type watchedNode struct {
	savedNode
	breaks error
	deaf   bool // it breaks off before it has begun
}

func (n watchedNode) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) error {
	if n.deaf {
		return n.breaks
	}
	seen := inspect.Packet{Point: watch.Points[0], Time: time.Unix(1, 0), Link: filter.Ethernet, Data: make([]byte, 60), Length: 60}
	if err := saw(inspect.Sighting{Ready: true, Packets: []inspect.Packet{seen}}); err != nil || n.breaks != nil {
		return cmp.Or(err, n.breaks)
	}
	<-ctx.Done()
	return saw(inspect.Sighting{Counts: []inspect.Count{{Seen: 1}}})
}

func (watchedNode) Send(context.Context, inspect.Send) ([]inspect.Sent, error) { return nil, nil }

// A node that breaks off ends the capture: what all saw until then is there, and what is not known is said.
func TestCaptureOfANodeThatBreaksOff(t *testing.T) {
	for first, want := range map[bool]string{
		true:  "2 packets of 2 interfaces; what was lost to the capture is not known of a",
		false: "2 packets of 2 interfaces; what was lost to the capture is not known of b",
	} {
		var v visited
		var tasks []capture.Task
		var points []capture.Point
		for i, name := range []string{"a", "b"} {
			node := watchedNode{}
			if (i == 0) == first {
				node.breaks = stream.ErrEnded
			}
			s := inspect.New()
			s.Machine.Hostname = "node-" + name
			v.nodes, v.snapshots = append(v.nodes, node), append(v.snapshots, s)
			ref := inspect.Ref{Namespace: 1, Index: 2}
			points = append(points, capture.Point{Node: s.Machine.Name(), Ref: ref, Name: name, Link: filter.Ethernet})
			tasks = append(tasks, capture.Task{Node: s.Machine.Name(), Watch: inspect.Watch{Points: []inspect.Ref{ref}}})
		}
		var out, said bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetErr(&said)
		recorder := capture.NewRecorder(capture.Lines(&out), points, nil)
		err := (&captureOptions{}).follow(cmd, &v, tasks, recorder)
		check.Equal(t, "the error", errors.Is(err, stream.ErrEnded), true)
		check.Equal(t, "the exit code", exitCode(err), exitBlind)
		check.Equal(t, "the summary", recorder.Summary(), want)
		check.Equal(t, "lines", strings.Count(out.String(), "\n"), 2)
	}
}

// A capture that cannot begin on each node takes nothing away, also where another node has seen packets already.
func TestCaptureThatCannotBegin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.pcapng")
	check.Must(t, os.WriteFile(file, []byte("an old capture"), private))
	var v visited
	var tasks []capture.Task
	var points []capture.Point
	ref := inspect.Ref{Namespace: 1, Index: 2}
	for name, node := range map[string]watchedNode{"a": {}, "b": {breaks: errors.New("no NET_RAW"), deaf: true}} {
		s := inspect.New()
		s.Machine.Hostname = "node-" + name
		v.nodes, v.snapshots = append(v.nodes, node), append(v.snapshots, s)
		points = append(points, capture.Point{Node: s.Machine.Name(), Ref: ref, Name: name, Link: filter.Ethernet})
		tasks = append(tasks, capture.Task{Node: s.Machine.Name(), Watch: inspect.Watch{Points: []inspect.Ref{ref}}})
	}
	o := &captureOptions{write: file, count: 1}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetErr(io.Discard)
	sink, closeSink, err := o.open(cmd, &v, points)
	check.Must(t, err)
	recorder := capture.NewRecorder(sink, points, nil)
	recorder.Most = o.count
	check.Error(t, o.follow(cmd, &v, tasks, recorder), "no NET_RAW")
	check.Must(t, closeSink())
	data, err := os.ReadFile(file)
	check.Must(t, err)
	check.Equal(t, "the file", string(data), "an old capture")
}

// A capture that was over before it began says so: nothing was captured.
func TestCaptureThatIsOverBeforeItBegins(t *testing.T) {
	ref := inspect.Ref{Namespace: 1, Index: 2}
	s := inspect.New()
	v := visited{nodes: []inspect.Node{slowNode{}}, snapshots: []*inspect.Snapshot{s}}
	points := []capture.Point{{Node: s.Machine.Name(), Ref: ref, Name: "a", Link: filter.Ethernet}}
	tasks := []capture.Task{{Node: s.Machine.Name(), Watch: inspect.Watch{Points: []inspect.Ref{ref}}}}
	for name, test := range map[string]struct {
		duration  time.Duration
		interrupt bool
		want      string // "" for no error
	}{
		"its time was over":      {time.Millisecond, false, "--duration was over before every node had begun"},
		"somebody interrupts it": {0, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := &cobra.Command{}
			cmd.SetContext(ctx)
			cmd.SetErr(io.Discard)
			if test.interrupt {
				cancel()
			}
			err := (&captureOptions{duration: test.duration}).follow(cmd, &v, tasks, capture.NewRecorder(capture.Lines(io.Discard), points, nil))
			if test.want == "" {
				check.Must(t, err)
				return
			}
			check.Error(t, err, test.want)
		})
	}
}

// slowNode is a node that has not begun to watch when it is told to end.
type slowNode struct{ watchedNode }

func (slowNode) Watch(ctx context.Context, _ inspect.Watch, _ func(inspect.Sighting) error) error {
	<-ctx.Done()
	return nil
}
