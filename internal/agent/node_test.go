package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// following writes what install --follow found out.
func following(t *testing.T, use *types.NodeUse) *nodeUse {
	t.Helper()
	n := &nodeUse{socket: filepath.Join(t.TempDir(), "agent.sock"), now: func() time.Time { return noon }}
	if use != nil {
		data, err := types.FormatNodeUse(use)
		check.Must(t, err)
		check.Must(t, os.WriteFile(types.NodeUseFile(n.socket), data, 0o600))
	}
	return n
}

func TestNodeUseHasEveryReason(t *testing.T) {
	well := map[string]string{types.UseConfiguration: "", types.UseFallback: "no file"}
	for name, tc := range map[string]struct {
		use  *types.NodeUse
		own  error
		want map[string]string // words of the fault
	}{
		"nothing follows":     {nil, nil, map[string]string{types.UseJournal: ""}},
		"all is well":         {&types.NodeUse{Checked: noon, Faults: well}, nil, map[string]string{types.UseConfiguration: "", types.UseFallback: "no file", types.UseFollower: "", types.UseJournal: ""}},
		"the agent's own":     {nil, errors.New("another folder"), map[string]string{types.UseJournal: "another folder"}},
		"it was long ago":     {&types.NodeUse{Checked: noon.Add(-3 * time.Minute), Faults: well}, nil, map[string]string{types.UseConfiguration: "", types.UseFallback: "no file", types.UseFollower: "has not checked this node for 3m0s", types.UseJournal: ""}},
		"it is in the future": {&types.NodeUse{Checked: noon.Add(time.Hour), Faults: well}, nil, map[string]string{types.UseConfiguration: "", types.UseFallback: "no file", types.UseFollower: "has not checked this node for 1h0m0s", types.UseJournal: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			n := following(t, tc.use)
			n.own = map[string]func() error{types.UseJournal: func() error { return tc.own }}
			reasons, _ := n.inspect()
			got := map[string]string{}
			for _, reason := range reasons {
				got[reason.Reason] = reason.Fault
			}
			check.Equal(t, "reasons", strings.Join(slices.Sorted(maps.Keys(got)), " "), strings.Join(slices.Sorted(maps.Keys(tc.want)), " "))
			for reason, words := range tc.want {
				if (got[reason] == "") != (words == "") || !strings.Contains(got[reason], words) {
					t.Errorf("%s: %q, want %q", reason, got[reason], words)
				}
			}
		})
	}
}

// A file that nobody can read is a fault, and not as if nothing followed.
func TestNodeUseThatCannotBeRead(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"no JSON":  func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"too long": func(path string) error { return os.WriteFile(path, make([]byte, types.MaxNodeUse+1), 0o600) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		n := following(t, nil)
		check.Must(t, harm(types.NodeUseFile(n.socket)))
		reasons, follower := n.inspect()
		if len(reasons) != 1 || reasons[0].Reason != types.UseFollower || reasons[0].Fault == "" || follower != nil {
			t.Errorf("%s: %v, %v", name, reasons, follower)
		}
	}
}

// The agent serves the reasons that install --follow does not serve itself.
func TestNodeInUseMetric(t *testing.T) {
	n := following(t, &types.NodeUse{Checked: noon, Faults: map[string]string{types.UseConfiguration: "another"}})
	n.own = map[string]func() error{types.UseNodeName: func() error { return errors.New("no such node") }, types.UseJournal: func() error { return nil }}
	m := newMetrics()
	m.registry.MustRegister(inUse{n})
	for reason, want := range map[string]float64{types.UseNodeName: 0, types.UseJournal: 1, types.UseFollower: 1} {
		check.Equal(t, reason, value(t, m, "plexus_node_in_use", "reason", reason), want)
	}
	families, err := m.registry.Gather()
	check.Must(t, err)
	for _, family := range families {
		if family.GetName() == "plexus_node_in_use" && len(family.GetMetric()) != 3 {
			t.Errorf("got %v", family)
		}
	}
}

// stateWith gives a state of some faults.
func stateWith(faults map[string]string) *types.NodeState {
	return &types.NodeState{Use: types.SortReasons(faults), Follower: &types.NodeUse{}}
}

func TestNotices(t *testing.T) {
	now := noon
	var written []string
	n := &notices{now: func() time.Time { return now }, write: func(kind, reason, message string) {
		written = append(written, kind+" "+reason+": "+message)
	}}
	for _, step := range []struct {
		what   string
		faults map[string]string
		after  time.Duration
		want   []string
	}{
		{"all is well, at first", nil, 0, nil},
		{"still", nil, 0, nil},
		{"a fault that is mended at once", map[string]string{types.UseConfiguration: "gone"}, 0, nil},
		{"it is mended", nil, 0, nil},
		{"a fault", map[string]string{types.UseConfiguration: "another", types.UseJournal: "moved"}, 0, nil},
		{"it stays", map[string]string{types.UseConfiguration: "another", types.UseJournal: "moved"}, 0, []string{"Warning PlexusNotInUse: configuration: another; journal: moved"}},
		{"and stays", map[string]string{types.UseConfiguration: "another", types.UseJournal: "moved"}, time.Minute, nil},
		{"for an hour", map[string]string{types.UseConfiguration: "another", types.UseJournal: "moved"}, time.Hour, []string{"Warning PlexusNotInUse: configuration: another; journal: moved"}},
		{"it ends", nil, 0, nil},
		{"for good", nil, 0, []string{"Normal PlexusInUse: new pods get plexus"}},
		{"the fallback", map[string]string{types.UseFallback: "no file"}, 0, nil},
		{"stays unusable", map[string]string{types.UseFallback: "no file"}, 0, []string{"Warning PlexusFallbackUnusable: no pod that selects networks starts while no agent answers: no file"}},
		{"it is back", nil, 0, nil},
		{"for good, too", nil, 0, []string{"Normal PlexusFallbackUsable: plexus-once has its kubeconfig"}},
	} {
		now, written = now.Add(step.after), nil
		n.update(stateWith(step.faults))
		if diff := cmp.Diff(step.want, written); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
}

// A message that changes with the time, as that of a follower that hangs, is one fault: it is said
// once, and so is what else is wrong meanwhile.
func TestNoticeOfAFaultWhoseMessageChanges(t *testing.T) {
	for _, reason := range []string{types.UseFollower, types.UseNodeName} {
		now, written := noon, 0
		n := &notices{now: func() time.Time { return now }, write: func(_, _, message string) {
			written++
			check.Equal(t, "message", message, "configuration: another; "+reason+": for 10s")
		}}
		for range 20 {
			now = now.Add(useCheck)
			n.update(stateWith(map[string]string{types.UseConfiguration: "another", reason: "for " + now.Sub(noon).String()}))
		}
		check.Equal(t, reason+": events", written, 1)
	}
}

func TestUntaint(t *testing.T) {
	well := map[string]string{types.UseConfiguration: "", types.UseFallback: "no file"}
	for name, tc := range map[string]struct {
		key   string
		state *types.NodeState
		want  int // removals
	}{
		"in use":                   {"k", stateWith(well), 1},
		"no taint to remove":       {"", stateWith(well), 0},
		"not in use":               {"k", stateWith(map[string]string{types.UseExecutables: "missing"}), 0},
		"the agent is not ready":   {"k", &types.NodeState{NotReady: "no list", Follower: &types.NodeUse{}}, 0},
		"nothing follows the node": {"k", &types.NodeState{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			removals := 0
			u := &untaint{key: tc.key, node: "worker-1", now: func() time.Time { return noon }, log: noLog(), remove: func(_ context.Context, node, key string) (bool, error) {
				removals++
				check.Equal(t, "removed", node+" "+key, "worker-1 k")
				return true, nil
			}}
			u.update(t.Context(), tc.state)
			u.update(t.Context(), tc.state) // not again at once
			check.Equal(t, "removals", removals, tc.want)
		})
	}
}

func TestUntaintAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		after time.Duration
		want  int
	}{
		"soon after a failure":           {errors.New("no"), taintRetry, 2},
		"not at once":                    {errors.New("no"), taintRetry - 1, 1},
		"later, as a node may come anew": {nil, taintRecheck, 2},
		"not soon after a success":       {nil, taintRetry, 1},
	} {
		now, removals := noon, 0
		u := &untaint{key: "k", now: func() time.Time { return now }, log: noLog(), remove: func(context.Context, string, string) (bool, error) {
			removals++
			return false, tc.err
		}}
		u.update(t.Context(), stateWith(nil))
		now = now.Add(tc.after)
		u.update(t.Context(), stateWith(nil))
		check.Equal(t, name, removals, tc.want)
	}
}

func TestNodeName(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "worker-1", errors.New("no"))
	for name, tc := range map[string]struct {
		bound     string
		exists    error
		stranger  bool
		elsewhere bool
		failure   error
		fault     string // "" for none
		known     bool
	}{
		"all is well":                         {known: true},
		"its token says the same":             {bound: "worker-1", exists: errors.New("asked for nothing"), known: true},
		"its token says another":              {bound: "worker-2", fault: "it is worker-1, and the agent's own pod runs on node worker-2", known: true},
		"no such node":                        {exists: fmt.Errorf("node worker-1: %w", k8sclient.ErrNodeNotFound), fault: "--node-name: node worker-1", known: true},
		"nodes may not be read":               {exists: forbidden, known: true},
		"nodes may not be read, and wrong":    {exists: forbidden, stranger: true, elsewhere: true, fault: "pod demo/web is attached here", known: true},
		"the API server does not answer":      {exists: errors.New("no answer")},
		"its pods run elsewhere":              {stranger: true, elsewhere: true, fault: "on another node than worker-1", known: true},
		"a pod is deleted, or not yet seen":   {stranger: true, known: true},
		"the API server does not answer then": {stranger: true, failure: errors.New("no answer")},
	} {
		t.Run(name, func(t *testing.T) {
			n := &nodeName{
				name:   "worker-1",
				bound:  tc.bound,
				exists: func(context.Context, string) error { return tc.exists },
				elsewhere: func(context.Context, *types.Pod, string) (bool, error) {
					return tc.elsewhere, tc.failure
				},
				stranger: func() (types.Pod, bool) { return types.Pod{Namespace: "demo", Name: "web", UID: "u"}, tc.stranger },
			}
			fault, known := n.check(t.Context())
			if known != tc.known || (fault == nil) != (tc.fault == "") {
				t.Fatalf("got %v, %v", fault, known)
			}
			if fault != nil {
				check.Error(t, fault, tc.fault, "kubectl get nodes")
			}
		})
	}
}

// One pod that the watch brings shows that the name is right.
func TestStranger(t *testing.T) {
	attached := func(uid string) *sandbox {
		return &sandbox{alive: true, pod: types.Pod{Namespace: "ns", Name: "pod-" + uid, UID: uid}}
	}
	for name, tc := range map[string]struct {
		sandboxes []*sandbox
		known     map[string]string // UIDs by pods' names
		want      string            // the stranger's UID
	}{
		"nothing is attached":   {nil, nil, ""},
		"one that is not known": {[]*sandbox{attached("a")}, nil, "a"},
		"one of two is known":   {[]*sandbox{attached("a"), attached("b")}, map[string]string{"pod-b": "b"}, ""},
		"another of that name":  {[]*sandbox{attached("a")}, map[string]string{"pod-a": "z"}, "a"},
		"it is dead":            {[]*sandbox{{pod: attached("a").pod}}, nil, ""},
		"its UID is not known":  {[]*sandbox{{alive: true, pod: types.Pod{Namespace: "ns", Name: "p"}}}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecords(t.TempDir(), "boot", noLog())
			for i, s := range tc.sandboxes {
				r.known[journal.Key{ContainerID: fmt.Sprint(i)}] = s
			}
			pod, found := r.stranger(func(ref types.Ref) (k8sclient.PodObject, bool) {
				uid, ok := tc.known[ref.Name]
				return k8sclient.PodObject{UID: uid}, ok
			})
			if pod.UID != tc.want || found != (tc.want != "") {
				t.Errorf("got %v, %v", pod, found)
			}
		})
	}
}

func TestLastFailures(t *testing.T) {
	f := &failures{}
	for _, call := range []types.CallReport{
		{Command: "ADD"}, // it succeeded
		{Command: "ADD", Code: 7},
		{Command: "DEL", Code: 7},
		{Command: "ADD", Code: 999, Fault: types.FaultNetwork},
	} {
		f.add(&types.Pod{}, &call)
	}
	var faults []string
	for _, failed := range f.list() {
		faults = append(faults, failed.Fault)
	}
	check.Equal(t, "faults", faults, []string{types.FaultUser, types.FaultNode, types.FaultNetwork})
}

func TestLastFailuresAreBounded(t *testing.T) {
	f := &failures{}
	for i := range maxFailures + 2 {
		f.add(&types.Pod{Namespace: "ns", Name: fmt.Sprint("p", i)}, &types.CallReport{
			Command: "nonsense", ContainerID: strings.Repeat("c", 1<<20), Code: 7, Error: strings.Repeat("e", 1<<20),
		})
	}
	list := f.list()
	if len(list) != maxFailures || list[0].Pod != "ns/p2" || list[maxFailures-1].Pod != "ns/p6" || list[0].Command != other {
		t.Fatalf("got %.200v", list)
	}
	if len(list[0].Error) > types.MaxReportError || len(list[0].Sandbox) > 100 {
		t.Errorf("%d bytes of an error, %d of a sandbox", len(list[0].Error), len(list[0].Sandbox))
	}
}

// The agent answers about its node.
func TestServeNodeState(t *testing.T) {
	s := run(t, testServer())
	conn := s.dial()
	send(t, conn, `{"version":1,"node":true}`+"\n")
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	if answer.Node == nil || answer.Node.Node != "worker-1" || answer.Error != nil {
		t.Errorf("got %+v", answer)
	}
}
