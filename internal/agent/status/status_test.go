package status

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func well() *types.NodeState {
	follower := &types.NodeUse{Checked: noon.Add(-4 * time.Second), Version: "v1.2.0", File: "/etc/cni/net.d/00-plexus.conflist", Network: "10-flannel.conflist"}
	return &types.NodeState{
		Node: "worker-1", Version: "v1.2.0", Since: noon.Add(-3 * time.Hour), Follower: follower,
		Use: types.SortReasons(map[string]string{
			types.UseConfiguration: "", types.UseDefaultNetwork: "", types.UseExecutables: "", types.UseFallback: "", types.UseFollower: "", types.UseJournal: "", types.UseNodeName: "",
		}),
		Pods: 12, Networks: 34, Journal: types.JournalState{Complete: 11, Attachments: 15},
	}
}

func TestWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *types.NodeState)
		want   string
		fault  string
	}{
		"all is well": {func(*types.NodeState) {}, `worker-1: new pods get plexus

  configuration    ok  /etc/cni/net.d/00-plexus.conflist
  default_network  ok  10-flannel.conflist
  executables      ok  v1.2.0
  fallback         ok
  follow           ok  checked 4s ago
  journal          ok
  node_name        ok

  agent    serving  for 3h0m0s, version v1.2.0
  knows    12       pods of this node
           34       networks
  journal  11       sandboxes, with 15 attachments
`, ""},
		"much is wrong": {func(s *types.NodeState) {
			s.Use = types.SortReasons(map[string]string{types.UseConfiguration: "the runtime takes 00-aaa.conflist", types.UseFallback: "no file", types.UseJournal: ""})
			s.NotReady = "pods: no list yet\nnetworks: no list yet"
			s.Journal = types.JournalState{Complete: 1, Incomplete: 2, Unreadable: 3, GivenUp: 4, Attachments: 5}
			s.Waiting, s.Without = 6, 7
			s.Failures = []types.FailedCall{
				{Time: noon.Add(-time.Minute), Command: "ADD", Pod: "demo/web", Code: 7, Fault: types.FaultUser, Error: "network demo/mv: not found"},
				{Time: noon.Add(-time.Minute), Command: "ADD", Pod: "demo/db", Code: 999, Fault: types.FaultNetwork, Error: "no such master"},
				{Time: noon.Add(-time.Second), Command: "DEL", Sandbox: "c1", Code: 5, Fault: types.FaultNode, Error: "no space left on device"},
				{Time: noon.Add(-time.Second), Command: "GC", Sandbox: "c2", Code: 7, Error: "of an older agent"},
			}
		}, `worker-1: NEW PODS DO NOT GET PLEXUS, or would not

  configuration  FAULT  the runtime takes 00-aaa.conflist
  fallback       FAULT  no file
  journal        ok

  agent    serving    for 3h0m0s, version v1.2.0
           NOT READY  pods: no list yet; networks: no list yet
  knows    12         pods of this node
           34         networks
           7          PODS WITHOUT THEIR NETWORKS: their events say which; delete them
  journal  1          sandboxes, with 5 attachments
           2          whose ADD is under way, or never ended
           3          whose records cannot be read
           4          given up: nothing could release them
           6          pods whose status waits to be published

  The last calls that failed:
  1m0s ago, ADD of pod demo/web, code 7, a user's fault: network demo/mv: not found
  1m0s ago, ADD of pod demo/db, code 999, a network's fault: no such master
  1s ago, DEL of sandbox c1, code 5, the node's fault: no space left on device
  1s ago, GC of sandbox c2, code 7: of an older agent
`, "this node does not use plexus as it should: configuration"},
		"a fault above lines without a detail": {func(s *types.NodeState) {
			s.Use = types.SortReasons(map[string]string{types.UseConfiguration: "another file", types.UseFallback: "", types.UseFollower: "", types.UseJournal: ""})
			s.Since = time.Time{}
		}, `worker-1: NEW PODS DO NOT GET PLEXUS, or would not

  configuration  FAULT  another file
  fallback       ok
  follow         ok     checked 4s ago
  journal        ok

  agent  no answer
`, "this node does not use plexus as it should: configuration"},
		"the fallback alone": {func(s *types.NodeState) {
			s.Use = types.SortReasons(map[string]string{types.UseFallback: "no file"})
			s.Since, s.Node = time.Time{}, ""
		}, `this node: new pods get plexus

  fallback  FAULT  no file

  agent  no answer
`, ""},
		"nothing follows": {func(s *types.NodeState) {
			s.Follower, s.Since = nil, time.Time{}
			s.Use, s.NotReady = nil, "no list yet"
		}, `worker-1: not known whether new pods get plexus: no install --follow keeps its configuration

  agent  no answer
`, "the agent of this node is not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			state, out := well(), &bytes.Buffer{}
			tc.change(state)
			check.Must(t, Write(out, state, noon))
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Error(diff)
			}
			err := Fault(state)
			if (err == nil) != (tc.fault == "") {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				check.Error(t, err, tc.fault)
			}
		})
	}
}

// Who words an error neither writes a line of the page nor commands the terminal.
func TestWriteCannotBeForged(t *testing.T) {
	const forged = "no\x1b[2J network\n  agent    serving\r\u202e\u0085\x7f\v\f"
	for name, change := range map[string]func(s *types.NodeState, text string){
		"a failed call": func(s *types.NodeState, text string) {
			s.Failures = []types.FailedCall{{Command: "ADD", Pod: "demo/" + text, Error: text}}
		},
		"a fault": func(s *types.NodeState, text string) {
			s.Use = types.SortReasons(map[string]string{types.UseConfiguration: text})
		},
		"not ready":   func(s *types.NodeState, text string) { s.NotReady = text },
		"the network": func(s *types.NodeState, text string) { s.Follower.Network = text },
		"the node":    func(s *types.NodeState, text string) { s.Node = text },
	} {
		t.Run(name, func(t *testing.T) {
			page := func(text string) string {
				state, out := well(), &bytes.Buffer{}
				change(state, text)
				check.Must(t, Write(out, state, noon))
				return out.String()
			}
			got := page(forged)
			check.Equal(t, "lines", strings.Count(got, "\n"), strings.Count(page("harmless"), "\n"))
			for _, c := range got {
				if c != '\n' && !unicode.IsPrint(c) {
					t.Errorf("%q reaches the terminal", c)
				}
			}
		})
	}
}

func TestAsk(t *testing.T) {
	want, err := json.Marshal(&types.Response{Version: types.WireVersion, Node: well()})
	check.Must(t, err)
	for name, tc := range map[string]struct {
		answer string
		fault  string
	}{
		"an answer":            {string(want), ""},
		"an older agent":       {`{"version":1,"error":{"code":100,"message":"request must have exactly one of"}}`, "exactly one of"},
		"no agent":             {`{"version":1}`, "says nothing of the node"},
		"it hangs up":          {"", "no answer"},
		"of another version":   {`{"version":2}`, "another version"},
		"what makes no sense":  {`]`, "not valid"},
		"a state of another":   {`{"version":1,"node":[]}`, "not valid"},
		"plexus-once's answer": {`{"version":1,"facts":{}}`, "says nothing of the node"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := answering(t, tc.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			state, err := Ask(ctx, socket)
			if tc.fault != "" {
				check.Error(t, err, "ask the agent on "+socket, tc.fault)
				return
			}
			check.Must(t, err)
			if diff := cmp.Diff(well(), state); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err = Ask(t.Context(), "/none")
	check.Error(t, err, "ask the agent on /none", "no such file")
}

// answering gives a socket on which one line is answered.
func answering(t *testing.T, answer string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "status-")
	check.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	check.Must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := rpc.NewConn(conn).ReadLine(); err == nil && answer != "" {
			_, _ = conn.Write([]byte(answer + "\n"))
		}
	}()
	return socket
}

func TestWithoutAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	if state := WithoutAgent(socket, noon); state.Follower != nil || len(state.Use) > 0 {
		t.Errorf("nothing follows, and it gives %+v", state)
	}
	data, err := types.FormatNodeUse(&types.NodeUse{Checked: noon.Add(-time.Hour), Faults: map[string]string{types.UseConfiguration: "gone"}})
	check.Must(t, err)
	check.Must(t, os.WriteFile(types.NodeUseFile(socket), data, 0o600))
	err = Fault(WithoutAgent(socket, noon))
	check.Error(t, err, types.UseConfiguration, types.UseFollower)
}
