// Package status shows what the agent of a node, and install --follow, know about it.
package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// Ask asks the agent that answers on a socket about its node.
func Ask(ctx context.Context, socket string) (*types.NodeState, error) {
	state, err := ask(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("ask the agent on %s: %w", socket, err)
	}
	return state, nil
}

func ask(ctx context.Context, socket string) (*types.NodeState, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := rpc.CheckPeer(conn); err != nil {
		return nil, err
	}
	response, err := rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Node: true})
	if err != nil {
		return nil, err
	}
	if response.Node == nil {
		return nil, errors.New("its answer says nothing of the node")
	}
	return response.Node, nil
}

// followerPatience is how long install --follow, which checks the node every ten seconds, may
// say nothing.
const followerPatience = 2 * time.Minute

// Follower reads what install --follow found out, and gives its faults by reason: also one if
// it checks the node no more. It gives nothing if nothing follows.
func Follower(socket string, now time.Time) (follower *types.NodeUse, faults map[string]string) {
	faults = map[string]string{}
	follower, err := readFollower(types.NodeUseFile(socket))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, faults
	case err != nil:
		faults[types.UseFollower] = err.Error()
		return nil, faults
	}
	maps.Copy(faults, follower.Faults)
	faults[types.UseFollower] = ""
	if age := now.Sub(follower.Checked).Abs(); age > followerPatience {
		faults[types.UseFollower] = fmt.Sprintf("install --follow has not checked this node for %s: it has ended, or hangs; see the log of the container follow", age.Round(time.Second))
	}
	return follower, faults
}

func readFollower(file string) (*types.NodeUse, error) {
	data, err := host.ReadFile(file, types.MaxNodeUse)
	if err != nil {
		return nil, fmt.Errorf("read what install --follow found out: %w", err)
	}
	use, err := types.ParseNodeUse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return use, nil
}

// WithoutAgent gives what is known where no agent answers: what install --follow found out.
func WithoutAgent(socket string, now time.Time) *types.NodeState {
	follower, faults := Follower(socket, now)
	return &types.NodeState{Follower: follower, Use: types.SortReasons(faults)}
}

// Fault gives the reasons why a node does not use Plexus, or why its agent does not do its
// work; nil if all is well.
func Fault(state *types.NodeState) error {
	var faults []string
	for _, use := range state.Use {
		if use.Fault != "" && use.Reason != types.UseFallback {
			faults = append(faults, use.Reason)
		}
	}
	switch {
	case len(faults) > 0:
		return fmt.Errorf("this node does not use plexus as it should: %s", strings.Join(faults, ", "))
	case state.NotReady != "":
		return errors.New("the agent of this node is not ready")
	}
	return nil
}

// Write prints a state for a person.
func Write(out io.Writer, state *types.NodeState, now time.Time) error {
	var text bytes.Buffer
	p := &page{table: tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0), now: now}
	p.head(state)
	p.uses(state)
	p.agent(state)
	p.failures(state.Failures)
	if err := errors.Join(p.err, p.table.Flush()); err != nil {
		return err
	}
	_, err := out.Write(lineEnds.ReplaceAll(text.Bytes(), nil))
	return err
}

// lineEnds are the blanks that fill up the last column.
var lineEnds = regexp.MustCompile(`(?m) +$`)

// page prints lines of columns until one fails.
type page struct {
	table *tabwriter.Writer
	now   time.Time
	err   error
}

// line prints texts on one line and as they are: plugins and pods word errors, and a terminal
// obeys control characters.
func (p *page) line(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.Map(printable, text)
		}
	}
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.table, format+"\n", args...)
	}
}

// printable gives a character, or a space for one that is not to reach a terminal. A tab is
// between columns.
func printable(c rune) rune {
	if c == '\t' || unicode.IsPrint(c) {
		return c
	}
	return ' '
}

func (p *page) ago(at time.Time) string { return p.now.Sub(at).Round(time.Second).String() }

func (p *page) head(state *types.NodeState) {
	node := state.Node
	if node == "" {
		node = "this node"
	}
	switch {
	case state.Follower == nil:
		p.line("%s: not known whether new pods get plexus: no install --follow keeps its configuration", node)
	case state.InUse():
		p.line("%s: new pods get plexus", node)
	default:
		p.line("%s: NEW PODS DO NOT GET PLEXUS, or would not", node)
	}
	p.line("")
}

func (p *page) uses(state *types.NodeState) {
	for _, use := range state.Use {
		columns := []string{use.Reason, "ok", p.detail(use.Reason, state.Follower)}
		if use.Fault != "" {
			columns = []string{use.Reason, "FAULT", use.Fault}
		}
		p.line("  %s", strings.Join(columns, "\t"))
	}
	if len(state.Use) > 0 {
		p.line("")
	}
}

// detail is what is worth knowing where nothing is wrong.
func (p *page) detail(reason string, follower *types.NodeUse) string {
	switch {
	case follower == nil:
		return ""
	case reason == types.UseConfiguration:
		return follower.File
	case reason == types.UseDefaultNetwork:
		return follower.Network
	case reason == types.UseExecutables:
		return follower.Version
	case reason == types.UseFollower:
		return "checked " + p.ago(follower.Checked) + " ago"
	}
	return ""
}

func (p *page) agent(state *types.NodeState) {
	if state.Since.IsZero() {
		p.line("  agent\tno answer")
		return
	}
	p.line("  agent\tserving\tfor %s, version %s", p.ago(state.Since), state.Version)
	if state.NotReady != "" {
		p.line("  \tNOT READY\t%s", strings.ReplaceAll(state.NotReady, "\n", "; "))
	}
	p.line("  knows\t%d\tpods of this node", state.Pods)
	p.line("  \t%d\tnetworks", state.Networks)
	if state.Without > 0 {
		p.line("  \t%d\tPODS WITHOUT THEIR NETWORKS: their events say which; delete them", state.Without)
	}
	j := &state.Journal
	p.line("  journal\t%d\tsandboxes, with %d attachments", j.Complete, j.Attachments)
	for _, count := range []struct {
		n    int
		what string
	}{
		{j.Incomplete, "whose ADD is under way, or never ended"},
		{j.Unreadable, "whose records cannot be read"},
		{j.GivenUp, "given up: nothing could release them"},
		{state.Waiting, "pods whose status waits to be published"},
	} {
		if count.n > 0 {
			p.line("  \t%d\t%s", count.n, count.what)
		}
	}
}

func (p *page) failures(failed []types.FailedCall) {
	if len(failed) == 0 {
		return
	}
	p.line("")
	p.line("  The last calls that failed:")
	for _, call := range failed {
		who := "pod " + call.Pod
		if call.Pod == "" {
			who = "sandbox " + call.Sandbox
		}
		p.line("  %s ago, %s of %s, code %d%s: %s", p.ago(call.Time), call.Command, who, call.Code, whose(call.Fault), call.Error)
	}
}

// whose says whose fault a failed call is. An older agent does not say it.
func whose(fault string) string {
	switch fault {
	case types.FaultUser:
		return ", a user's fault"
	case types.FaultNetwork:
		return ", a network's fault"
	case types.FaultNode:
		return ", the node's fault"
	}
	return ""
}
