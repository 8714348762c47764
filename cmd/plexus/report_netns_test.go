package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// reports gives what plexus told an agent of its calls, each as "COMMAND code" with its
// phases as "name plugin interface code".
func reports(t *testing.T, agent *node.Agent) (all [][]string) {
	t.Helper()
	for _, request := range agent.Requests() {
		if request.Publish == nil {
			continue
		}
		report := request.Publish.Report
		if report == nil {
			t.Errorf("a call without a report: %+v", request.Publish)
			continue
		}
		if report.Took <= 0 || time.Since(report.Started) > time.Hour || report.TraceParent != traceParent {
			t.Errorf("the report of %s: began %s, took %s, traceparent %q", report.Command, report.Started, time.Duration(report.Took), report.TraceParent)
		}
		if (report.Error == "") != (report.Code == 0) {
			t.Errorf("the report of %s has the code %d and the error %q", report.Command, report.Code, report.Error)
		}
		told := []string{fmt.Sprintf("%s %d", report.Command, report.Code)}
		for _, phase := range report.Phases {
			if phase.After < 0 || phase.Took < 0 || phase.After+phase.Took > report.Took {
				t.Errorf("phase %s began after %s, took %s, of %s", phase.Name, time.Duration(phase.After), time.Duration(phase.Took), time.Duration(report.Took))
			}
			told = append(told, strings.Join(strings.Fields(fmt.Sprint(phase.Name, " ", phase.Plugin, " ", phase.Interface, " ", phase.Code)), " "))
		}
		all = append(all, told)
	}
	return all
}

// Every call tells the agent how it went, part by part, and the plugins are told to whom
// their trace belongs.
func TestNetnsReportsOfCalls(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	const noted = `printf '%s\n' "$CNI_COMMAND $TRACEPARENT" >>"$hooks/traced"`
	for _, command := range []string{"ADD", "DEL", "CHECK"} {
		n.Hook("bridge", command, noted)
	}
	second := types.Network{Ref: types.Ref{Namespace: "default", Name: "second"}, Config: node.Bridge("br2", "10.3.0.0/16").String()}
	agent := n.Agent(func(conn net.Conn, request *types.Request) {
		node.Facts(t, types.Facts{Pod: podWith(`[{"name": "second", "default-route": ["10.3.0.1"]}]`), Networks: []types.Network{second}})(conn, request)
	})
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
	pod := n.Sandbox("c1")
	traced := func(command string, conf node.Conf) *node.Outcome {
		return n.Call(node.Call{Command: command, Config: conf, Sandbox: pod, Env: []string{"TRACEPARENT=" + traceParent}})
	}
	added := traced("ADD", conf).OK()
	traced("CHECK", prevResult(conf, added)).OK()
	traced("DEL", conf).OK()
	n.Hook("bridge", "ADD", noted+"\n"+`[ "$CNI_IFNAME" != net0 ] || fail 123 'out of luck'`)
	traced("ADD", conf).Fails(123)
	n.Call(node.Call{
		Command: "GC", Config: conf.With(node.Conf{"cniVersion": "1.1.0", "cni.dev/valid-attachments": []any{}}),
		Env: []string{"TRACEPARENT=" + traceParent},
	}).OK()
	check.Equal(t, "reports", reports(t, agent), [][]string{
		{"ADD 0", "facts 0", "plan 0", "journal 0", "delegate bridge eth0 0", "delegate bridge net0 0", "routes 0", "namespace 0"},
		{"CHECK 0", "delegate bridge eth0 0", "delegate bridge net0 0"},
		{"DEL 0", "delegate bridge net0 0", "delegate bridge eth0 0"},
		{
			"ADD 123", "facts 0", "plan 0", "journal 0", "delegate bridge eth0 0", "delegate bridge net0 123",
			"delegate bridge net0 0", "delegate bridge eth0 0", // what undoes it
		},
		{"GC 0"},
	})
	var lines []string
	for _, command := range []string{"ADD", "ADD", "CHECK", "CHECK", "DEL", "DEL", "ADD", "ADD", "DEL", "DEL"} {
		lines = append(lines, command+" "+traceParent+"\n")
	}
	check.Equal(t, "what the plugins were told", n.ReadFile(n.Path("hooks", "traced")), strings.Join(lines, ""))
	n.MustBeClean()
}
