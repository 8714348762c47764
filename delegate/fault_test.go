package delegate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// A plugin's answer about a network that the pod selects may be of the network. What is of the
// node's own networks, and what no plugin answered, is the node's.
func TestFaultOfAttach(t *testing.T) {
	answered := func(code uint) error { return describe(&PluginError{Plugin: "p", Code: code, answered: true}) }
	for name, tc := range map[string]struct {
		selected bool
		err      error
		want     string
	}{
		"an answer":             {true, answered(999), types.FaultNetwork},
		"an answer, no code":    {true, answered(0), types.FaultNetwork},
		"a plugin's own code":   {true, answered(104), types.FaultNetwork},
		"an invalid network":    {true, answered(7), types.FaultUser},
		"another version":       {true, answered(1), types.FaultUser},
		"an address not given":  {true, types.Errorf(types.CodeInvalidConfig, "ips: …"), types.FaultUser},
		"the disk":              {true, answered(5), types.FaultNode},
		"patience":              {true, answered(11), types.FaultNode},
		"not available":         {true, answered(50), types.FaultNode},
		"limited":               {true, answered(51), types.FaultNode},
		"a crash":               {true, describe(&PluginError{Plugin: "p"}), types.FaultNode},
		"no plugin":             {true, errors.New("the disk is full"), types.FaultNode},
		"of every pod":          {false, answered(999), types.FaultNode},
		"of every pod, code 7":  {false, answered(7), types.FaultNode},
		"of every pod, a crash": {false, describe(&PluginError{Plugin: "p"}), types.FaultNode},
	} {
		t.Run(name, func(t *testing.T) {
			a := &types.Attachment{Network: "d/n", Interface: "net0", Selected: tc.selected}
			err := attachError(a, tc.err)
			check.Equal(t, "fault", (&Call{}).faultOf("ADD", fmt.Errorf("pod d/p: %w", err)), tc.want)
		})
	}
}

// What says nothing of its fault is judged by its code. Only an ADD that asks can ask wrongly.
func TestFaultOfCall(t *testing.T) {
	wrong, later := types.Errorf(types.CodeInvalidConfig, "x"), types.Errorf(types.CodeTryAgainLater, "x")
	for name, tc := range map[string]struct {
		call    Call
		command string
		err     error
		want    string
	}{
		"a success":         {Call{}, "ADD", nil, ""},
		"a wrong network":   {Call{}, "ADD", wrong, types.FaultUser},
		"patience":          {Call{}, "ADD", later, types.FaultNode},
		"without a code":    {Call{}, "ADD", errors.New("x"), types.FaultNode},
		"asks for nothing":  {Call{selectsNone: true}, "ADD", wrong, types.FaultNode},
		"a DEL":             {Call{}, "DEL", wrong, types.FaultNode},
		"a CHECK":           {Call{}, "CHECK", types.WithFault(types.FaultUser, wrong), types.FaultNode},
		"an undo fails too": {Call{}, "ADD", types.Join(types.WithFault(types.FaultUser, wrong), later), types.FaultUser},
	} {
		t.Run(name, func(t *testing.T) { check.Equal(t, "fault", tc.call.faultOf(tc.command, tc.err), tc.want) })
	}
}

// What the network namespace has already is in the way of a name that the pod chose, or it was
// left there by the runtime.
func TestFaultOfExistingInterface(t *testing.T) {
	for selected, want := range map[bool]string{true: types.FaultUser, false: types.FaultNode} {
		err := interfaceExists(&types.Attachment{Interface: "eth0", Selected: selected})
		check.Equal(t, "fault", (&Call{}).faultOf("ADD", err), want)
		check.Equal(t, "code", codeOf(err), types.CodeInvalidEnv)
	}
}

// factless is a source that fails.
type factless struct {
	*specSource
	err error
}

func (f factless) Facts(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return nil, f.err
}

// An ADD reports whose fault its failure is.
func TestFaultIsReported(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation string
		change     func(*testing.T, *specNode)
		want       string
	}{
		"a typing error": {"second,", nil, types.FaultUser},
		"no plugin":      {"second", func(t *testing.T, n *specNode) { n.drop(t, "second") }, types.FaultNetwork},
		"the node's own": {"", func(t *testing.T, n *specNode) { n.drop(t, "first") }, types.FaultNode},
		"no facts": {"", func(_ *testing.T, n *specNode) {
			n.engine.Source = factless{n.source, types.Errorf(types.CodeTryAgainLater, "not yet")}
		}, types.FaultNode},
		"wrong facts": {"", func(_ *testing.T, n *specNode) {
			n.engine.Source = factless{n.source, &types.WireError{Code: 7, Message: "annotation"}}
		}, types.FaultUser},
		"a deleted pod": {"", func(_ *testing.T, n *specNode) {
			n.engine.Source = factless{n.source, &types.WireError{Code: 100, Message: "not found", Fault: types.FaultUser}}
		}, types.FaultUser},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, tc.annotation)
			if tc.change != nil {
				tc.change(t, n)
			}
			check.Equal(t, "fault", n.failedAdd(t).Fault, tc.want)
		})
	}
}

// drop takes the executable of a plugin away.
func (n *specNode) drop(t *testing.T, plugin string) {
	t.Helper()
	check.Must(t, os.Remove(filepath.Join(n.dir, "bin", plugin)))
}

// failedAdd runs an ADD that must fail, and gives its report.
func (n *specNode) failedAdd(t *testing.T) *types.CallReport {
	t.Helper()
	if _, err := n.engine.Add(t.Context(), n.call); err == nil {
		t.Fatal("the ADD succeeds")
	}
	return n.source.published[len(n.source.published)-1].Report
}

// In a namespace: a plugin that fails on what the pod selects, or on what every pod gets, and a
// gateway that the pod asks for and cannot have.
func TestNetnsFaultIsReported(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation, fails string
		want              string
	}{
		"of a selected network": {"second", "net0", types.FaultNetwork},
		"of every pod":          {"second", "eth0", types.FaultNode},
		"not on link":           {`[{"name": "second", "default-route": ["10.3.0.1"]}]`, "", types.FaultUser},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecSandbox(t, tc.annotation)
			n.makesLink(t, "first", "10.1.0.5/24", "10.1.0.1")
			n.makesLink(t, "second", "10.2.0.5/24", "")
			if tc.fails != "" {
				n.fail(t, "ADD", tc.fails)
			}
			check.Equal(t, "fault", n.failedAdd(t).Fault, tc.want)
		})
	}
}
