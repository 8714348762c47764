package masters

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// trial is what every cluster network is put through.
type trial struct {
	master  cluster.Master
	needs   []string // the variables of its executables
	network string   // the name of its configuration
	plugin  string
	example string // of a second attachment, which Plexus refuses
	missing string // the file without which its plugin attaches nothing
	// left gives what its plugin has left of pods on a node, besides what every plugin leaves.
	left     func(*cluster.Node) []string
	policies bool   // it enforces them
	route    string // what a node's route to a pod of another says
	// way is that of a packet from a pod to one of another node, by their eth0: of their host ends it says
	// FROM and TO.
	way  string
	page string // of docs/paths
	// faults are what goes wrong on nodes, and what kubectl-plexus says of it.
	faults []fault
	// conf is the published file, if its version is older than CHECK: then CHECK is tried in a
	// newer one too.
	conf string

	s *cluster.Scenario
}

func (tr *trial) run(t *testing.T) {
	began := time.Now()
	c := cluster.New(t, cluster.Options{Nodes: 2, Master: tr.master, Plexus: cluster.WithAgent, Needs: tr.needs})
	t.Logf("the cluster is up after %v", cluster.Since(began))
	s := c.Scenario(t)
	tr.s = s
	s.Network("mv1", cluster.Macvlan(80, 10, 99))
	s.Network("mv2", cluster.Macvlan(80, 100, 199))
	tr.refusesSecond()
	a := tr.failsWithout(tr.missing)
	t.Logf("refusal and failure are seen after %v", cluster.Since(began))
	b := s.Pod("b", cluster.On(s.Node(2)), cluster.Networks("mv2"), cluster.HostPort(18080, 80), cluster.Serve(80)).AwaitReady()
	for _, p := range []*cluster.Pod{a, b} {
		p.MustHave("eth0", "net0")
		tr.logAnswers(p)
		tr.sees(p)
	}
	for _, name := range []string{"eth0", "net0"} {
		a.MustPing(b.IP(name))
		b.MustPing(a.IP(name))
	}
	tr.routed(a, b)
	tr.hostPortLeadsTo(a, "b", netip.AddrPortFrom(s.Node(2).IP(), 18080))
	tr.inspected(a, b)
	if tr.policies {
		tr.policyHolds(a, b)
	}
	tr.checks(a, b)
	pods := []*cluster.Pod{b, a}
	if tr.conf != "" {
		pods = append(pods, tr.checksInNewer())
	}
	tr.logCheck(pods[len(pods)-1])
	tr.checkFails(a)
	t.Logf("traffic and CHECK are seen after %v", cluster.Since(began))
	tr.survivesReboot(a, b)
	t.Logf("a reboot is seen after %v", cluster.Since(began))
	tr.releases(pods...)
	t.Logf("all is released after %v", cluster.Since(began))
}

// refusesSecond demands that a pod with a second attachment of the network's plugin is refused
// before anything runs, by the example that says so.
func (tr *trial) refusesSecond() {
	tr.s.Helper()
	network, pod, message := readExample(tr.s, "../../../examples/masters/"+tr.example)
	tr.s.Network(network.name, network.conf)
	p := tr.s.Pod(pod.name, cluster.On(tr.s.Node(1)), cluster.Networks(pod.networks))
	p.AwaitEvent("FailedCreatePodSandBox", tr.s.Namespace+"/"+pod.name, strings.ReplaceAll(message, "default/", tr.s.Namespace+"/"))
	if records := tr.s.Node(1).Journal(); len(records) > 0 {
		tr.s.Errorf("a pod that is refused has the records %q", records)
	}
	tr.mustBeClean()
	p.Delete()
	p.AwaitGone()
}

// failsWithout takes a file away from node 1, and demands that a pod says what is wrong, has
// nothing, and starts once the file is there again.
func (tr *trial) failsWithout(path string) *cluster.Pod {
	tr.s.Helper()
	n := tr.s.Node(1)
	_, err := n.Run("mv", path, path+".away")
	tr.s.Must(err)
	p := tr.s.Pod("a", cluster.On(n), cluster.Networks("mv1"))
	words := []string{"pod " + tr.s.Namespace + "/a", "network " + tr.network, "plugin " + tr.plugin, path}
	p.AwaitEvent("FailedCreatePodSandBox", words...)
	p.AwaitEvent("NetworkAttachFailed", words...)
	tr.logEvents(p)
	if left := append(n.Reservations(), append(interfaces(tr.s, n), tr.leftOn(n)...)...); len(left) > 0 {
		tr.s.Errorf("a pod that has failed has left %q", left)
	}
	_, err = n.Run("mv", path+".away", path)
	tr.s.Must(err)
	p.AwaitReady()
	tr.s.Await("nothing to be left of the attempts that failed", func() error {
		if records := n.Journal(); len(records) != 1 {
			return fmt.Errorf("there are the records %q", records)
		}
		return nil
	})
	return p
}

// routed demands that it is the network's own way that led from one node to the other.
func (tr *trial) routed(from, to *cluster.Pod) {
	tr.s.Helper()
	out, err := from.Node().Run("ip", "route", "get", to.IP("eth0").String())
	tr.s.Must(err)
	if !strings.Contains(out, tr.route) {
		tr.s.Errorf("the route to a pod of another node is %q, not %s", out, tr.route)
	}
}

func (tr *trial) hostPortLeadsTo(from *cluster.Pod, name string, port netip.AddrPort) {
	tr.s.Helper()
	tr.s.Await("the page over the node's port", func() error {
		page, err := from.Fetch(port)
		if err == nil && !strings.Contains(page, name) {
			err = fmt.Errorf("the page is %q", page)
		}
		return err
	})
}

// policyHolds demands that nobody reaches a pod on eth0 while a policy forbids it, and that all
// else is as it was.
func (tr *trial) policyHolds(from, to *cluster.Pod) {
	tr.s.Helper()
	from.MustPing(to.IP("eth0"))
	policies := tr.s.Client().NetworkingV1().NetworkPolicies(tr.s.Namespace)
	_, err := policies.Create(tr.s.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "nobody"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": to.Name}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}, metav1.CreateOptions{})
	tr.s.Must(err)
	tr.s.Await("the policy to be enforced", func() error {
		if from.Ping(to.IP("eth0")) == nil {
			return fmt.Errorf("pod %s answers", to.Name)
		}
		return nil
	})
	if _, err := from.Fetch(netip.AddrPortFrom(to.IP("eth0"), 80)); err == nil {
		tr.s.Errorf("pod %s serves, against the policy", to.Name)
	}
	to.MustPing(from.IP("eth0")) // it is about what comes in
	from.MustPing(to.IP("net0")) // it is about eth0
	tr.s.Must(policies.Delete(tr.s.Context(), "nobody", metav1.DeleteOptions{}))
	from.MustPing(to.IP("eth0"))
}

// checks calls CHECK for pods as their runtime would.
func (tr *trial) checks(pods ...*cluster.Pod) {
	tr.s.Helper()
	for _, p := range pods {
		if err := p.Call().Check(tr.s.Context()); err != nil {
			tr.s.Errorf("CHECK of pod %s: %v", p.Name, err)
		}
	}
}

// checksInNewer raises the version of the published configuration to one that has CHECK, and
// calls it for a pod that is made then.
func (tr *trial) checksInNewer() *cluster.Pod {
	tr.s.Helper()
	n := tr.s.Node(1)
	published, err := n.ReadFile(tr.conf)
	tr.s.Must(err)
	tr.s.Must(n.WriteFile(tr.conf, strings.Replace(published, `"0.3.1"`, `"1.0.0"`, 1)))
	p := tr.s.Pod("newer", cluster.On(n), cluster.Networks("mv1")).AwaitReady()
	p.MustHave("eth0", "net0")
	tr.logAnswers(p)
	tr.checks(p)
	tr.s.Must(n.WriteFile(tr.conf, published))
	return p
}

// checkFails demands that CHECK sees what is amiss.
func (tr *trial) checkFails(p *cluster.Pod) {
	tr.s.Helper()
	_, err := p.Run("ip", "address", "flush", "dev", "net0")
	tr.s.Must(err)
	err = p.Call().Check(tr.s.Context())
	if err == nil || !strings.Contains(err.Error(), "check network "+tr.s.Namespace+"/mv1 on net0") {
		tr.s.Errorf("CHECK of a pod whose net0 has lost its address says: %v", err)
	}
	tr.s.Logf("CHECK of a pod whose net0 has lost its address: %v", err)
}

// survivesReboot cuts the power of a pod's node, and demands that its networks come again, and
// that nothing of before is left.
func (tr *trial) survivesReboot(p, other *cluster.Pod) {
	tr.s.Helper()
	n := p.Node()
	before := n.Journal()
	tr.s.Must(n.Reboot(tr.s.Context()))
	tr.s.Await("the pods of "+n.Name+" to be attached again, and what they had to be released", func() error {
		records := n.Journal()
		if len(records) != len(before) || slices.ContainsFunc(records, func(r string) bool { return slices.Contains(before, r) }) {
			return fmt.Errorf("there are the records %q, before it %q", records, before)
		}
		return nil
	})
	p.AwaitReady().MustHave("eth0", "net0")
	p.MustPing(other.IP("eth0"))
	p.MustPing(other.IP("net0"))
}

// releases deletes pods, and demands that nothing is left, and that a second DEL is no error.
func (tr *trial) releases(pods ...*cluster.Pod) {
	tr.s.Helper()
	var calls []*cluster.Call
	for _, p := range pods {
		calls = append(calls, p.Call())
		p.Delete()
	}
	for _, p := range pods {
		p.AwaitGone()
	}
	tr.mustBeClean()
	for i, p := range pods {
		if err := calls[i].Del(tr.s.Context()); err != nil {
			tr.s.Errorf("a second DEL of pod %s: %v", p.Name, err)
		}
	}
	tr.mustBeClean()
}

// mustBeClean demands that no pod has left anything.
func (tr *trial) mustBeClean() {
	tr.s.Helper()
	tr.s.MustBeClean()
	for _, n := range tr.s.Nodes() {
		tr.s.Await("nothing of pods on "+n.Name, func() error {
			if left := tr.leftOn(n); len(left) > 0 {
				return fmt.Errorf("there are %q", left)
			}
			return nil
		})
	}
}

// sees demands that what a living pod has would be found if it were left.
func (tr *trial) sees(p *cluster.Pod) {
	tr.s.Helper()
	tr.s.Await("what pod "+p.Name+" has to be found", func() error {
		if len(tr.leftOn(p.Node())) == 0 || len(p.Node().Journal()) == 0 || len(interfaces(tr.s, p.Node())) == 0 {
			return fmt.Errorf("there is nothing")
		}
		return nil
	})
}

// leftOn gives what only this network, or its rules, can have left of pods on a node.
func (tr *trial) leftOn(n *cluster.Node) []string {
	left := ruleLeftovers(tr.s, n)
	if tr.left != nil {
		left = append(left, tr.left(n)...)
	}
	return left
}
