package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// act is what somebody does to a node.
type act struct {
	name   string
	do     string // by a shell on the node
	reason string // of plexus_node_in_use
	after  string // what the cluster network does once the act was seen
	heals  string // who mends it; empty: nobody, since it is somebody's decision
	undo   string // what the documents say then
	silent bool   // whether pods may start without their networks for the moment until it is mended
	takes  string // the network that the runtime has instead of Plexus while nobody mends it
	fresh  bool   // whether to begin with a new pod of the agent: the kubelet waits before it starts a container for the second time
	loses  bool   // whether the addresses of the pods that run have to be freed by hand
}

const (
	bridgeFile = cluster.BridgeFile
	ours       = cluster.ConfFile
	// writesAgain is the cluster network's file, written again after its folder was lost.
	writesAgain = "cp /opt/bridge.conflist " + bridgeFile + ".new && mv " + bridgeFile + ".new " + bridgeFile
)

// remove removes a folder into which others write meanwhile.
func remove(dir string) string { return "until rm -rf " + dir + " 2>/dev/null; do sleep 0.01; done" }

// accidents are what an operator, an upgrade or another program does.
var accidents = []act{
	{name: "rm plexus plexus-once", reason: "executables", heals: "follow", do: "rm /opt/cni/bin/plexus /opt/cni/bin/plexus-once"},
	{name: ": > plexus", reason: "executables", heals: "follow", do: "until truncate -s 0 /opt/cni/bin/plexus 2>/dev/null; do sleep 0.01; done"}, // not while it runs
	{
		name: "plexus becomes a script", reason: "executables", heals: "follow",
		do: `printf '#!/bin/sh\nexit 1\n' > /opt/cni/bin/new; chmod 755 /opt/cni/bin/new; mv /opt/cni/bin/new /opt/cni/bin/plexus`,
	},
	{
		name: "rm -rf /etc/cni/net.d", reason: "configuration", heals: "follow, started again", silent: true,
		do: remove("/etc/cni/net.d"), after: "mkdir -p /etc/cni/net.d && " + writesAgain,
	},
	{name: "Cilium's rename", reason: "configuration", heals: "follow", silent: true, do: "mv " + ours + " " + ours + ".cilium_bak"},
	{name: "hand edit of ours", reason: "configuration", do: `sed -i 's/"type": "plexus"/"logLevel": "info", &/' ` + ours, undo: "rm " + ours, silent: true},
	{name: "another file in our place", reason: "configuration", silent: true, takes: "cluster", do: "cp " + bridgeFile + " " + ours, undo: "rm " + ours},
	{
		name: "00-aaa.conflist before ours", reason: "configuration", silent: true, takes: "cluster",
		do: "cp " + bridgeFile + " /etc/cni/net.d/00-aaa.conflist", undo: "rm /etc/cni/net.d/00-aaa.conflist",
	},
	{name: "rm agent.sock", reason: "socket", heals: "agent", do: "rm /run/plexus/agent.sock"},
	{name: "rm -rf of the journal", reason: "journal", heals: "plexus", do: remove(cluster.JournalDir)},
	{name: "rm -rf of the journal's parent", reason: "journal", heals: "agent, started again", do: remove("/var/lib/cni/plexus"), loses: true},
}

// accidentsOfLinks need the folder that has the link to be mounted.
var accidentsOfLinks = []act{
	{
		name: "the plugins' link is turned", reason: "executables", heals: "follow, started again",
		do: `mkdir /opt/cni/v2 && cp -al /opt/cni/v1/. /opt/cni/v2 && rm /opt/cni/v2/plexus* && ln -s v2 /opt/cni/new && mv -T /opt/cni/new /opt/cni/bin`,
	},
	{
		name: "mv /etc/cni/net.d", reason: "configuration", heals: "follow, started again", silent: true, fresh: true,
		do: "mv /etc/cni/net.d /etc/cni/aside && mkdir /etc/cni/net.d", after: writesAgain,
	},
	{name: "rm -rf /run/plexus", reason: "socket", heals: "both, started again", fresh: true, do: remove("/run/plexus")},
}

// inspectNode prints what a node has of Plexus: whether follow and agent see the folders that
// have the names on the node, and their metrics.
const inspectNode = `
same() { [ "$(stat -L -c %d:%i "/proc/$1/root$2" 2>/dev/null)" = "$(stat -L -c %d:%i "$3" 2>/dev/null || echo none)" ] && echo "$3 is the same" || echo "$3 is another one"; }
follow=$(pgrep -f '^/opt/plexus/bin/plexus-agent install --follow'); agent=$(pgrep -f '^/opt/plexus/bin/plexus-agent serve')
stat -L -c '%n %s %a' /opt/cni/bin/plexus /opt/cni/bin/plexus-once 2>&1
ls /etc/cni/net.d | LC_ALL=C grep -E '\.(conf|conflist|json)$' | LC_ALL=C sort | head -n 1
sha256sum ` + ours + ` 2>&1
same "$follow" /host/opt/cni/bin /opt/cni/bin
same "$follow" /host/etc/cni/net.d /etc/cni/net.d
same "$agent" /var/lib/cni/plexus /var/lib/cni/plexus
same "$agent" /run/plexus /run/plexus
same "$follow" /run/plexus /run/plexus
ls /run/plexus/agent.sock 2>&1
echo "##"
echo "$follow $agent"
for port in 9729 9730; do
	(exec 3<>/dev/tcp/127.0.0.1/$port && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && timeout 2 cat <&3) 2>/dev/null | grep -E '^plexus_(node|serving|pods_without)'
done
exit 0
`

// view is what a node has of Plexus at a moment.
type view struct {
	state     string // what the node has
	processes string // follow and agent
	inUse     map[string]float64
	repairs   float64
	without   float64 // pods without their networks
}

func (h *healing) inspect() (v view, err error) {
	text, err := h.n.Run("bash", "-c", inspectNode)
	if err != nil {
		return v, err
	}
	var rest string
	v.state, rest, _ = strings.Cut(text, "##\n")
	v.processes, rest, _ = strings.Cut(rest, "\n")
	v.inUse = map[string]float64{}
	for line := range strings.Lines(rest) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return v, err
		}
		if reason, found := strings.CutPrefix(name, `plexus_node_in_use{reason="`); found {
			v.inUse[strings.TrimSuffix(reason, `"}`)] = value
		} else if strings.HasPrefix(name, "plexus_node_repairs_total") {
			v.repairs += value
		} else if name == "plexus_serving" {
			v.inUse["socket"] = value
		} else if name == "plexus_pods_without_networks" {
			v.without = value
		}
	}
	return v, nil
}

// uses gives an error unless all metrics say that the node uses Plexus.
func (v view) uses() error {
	for _, reason := range []string{"configuration", "executables", "default_network", "fallback", "journal", "socket"} {
		if value, there := v.inUse[reason]; value != 1 {
			return fmt.Errorf("%s is %v (there: %v)", reason, value, there)
		}
	}
	return nil
}

// healing does acts to a node, and measures how it heals.
type healing struct {
	s      *cluster.Scenario
	n      *cluster.Node
	pods   *comings
	intact string // what the node has where nobody has done anything to it
	rows   []row
	lost   []string       // addresses of pods whose records are gone for good
	kept   []*cluster.Pod // that started without their networks, and stay
}

// row is what became of an act.
type row struct {
	act
	phase          int
	seen           time.Duration // from the act until a metric showed it
	how            string        // the way in which it did
	healed         time.Duration // from the act, or what follows it, until the node was whole
	podAfter       time.Duration // how long the next pod took
	failed         int           // sandboxes that could not be made
	started        int           // pods that started meanwhile
	without        []string      // those of them that have no network
	began, wholeAt time.Time
}

// whole waits until the node has what it had before the first act, the metrics say so, and the
// runtime has read it.
func (h *healing) whole(what string) (state string) {
	h.s.Helper()
	h.s.Await("the node to be whole "+what, func() error {
		v, err := h.inspect()
		if err != nil {
			return err
		}
		state = v.state
		if h.intact != "" && v.state != h.intact {
			return fmt.Errorf("it has\n%s\nbefore it had\n%s", v.state, h.intact)
		}
		return v.uses()
	})
	h.s.Must(h.n.AwaitConf(h.s.Context()))
	return state
}

// see waits until a metric says what was done: it is 0, a repair was counted, or the process
// that has it was started again.
func (h *healing) see(r *row, before view) {
	h.s.Helper()
	h.s.Await("a metric to show "+r.name, func() error {
		v, err := h.inspect()
		if err != nil {
			return err
		}
		value, there := v.inUse[r.reason]
		switch {
		case there && value == 0:
			r.how = "in use 0"
		case v.processes == before.processes && v.repairs > before.repairs:
			r.how = "repaired"
		case v.processes != before.processes:
			r.how = "restarted"
		case r.heals != "" && v.state == h.intact && v.uses() == nil:
			r.how = "healed first"
		default:
			return errors.New("nothing has changed")
		}
		return nil
	})
	r.seen = time.Since(r.began)
}

// run does one act.
func (h *healing) run(a act) {
	h.s.Helper()
	if a.fresh {
		_, err := h.s.Kubectl("--namespace", "plexus-system", "delete", "pods", "--field-selector", "spec.nodeName="+h.n.Name)
		h.s.Must(err)
		h.whole("with a new pod of the agent")
	}
	before, err := h.inspect()
	h.s.Must(err)
	failed, err := h.n.FailedSandboxes()
	h.s.Must(err)
	r := row{act: a, phase: h.pods.next(), began: time.Now()}
	_, err = h.n.Run("sh", "-c", "set -e; "+a.do)
	h.s.Must(err)
	h.see(&r, before)
	if a.undo != "" {
		h.mustLast(&r)
	}
	mending := r.began
	if more := cmp.Or(a.after, a.undo); more != "" {
		mending = time.Now()
		_, err := h.n.Run("sh", "-c", "set -e; "+more)
		h.s.Must(err)
	}
	h.whole("after " + a.name)
	r.wholeAt = time.Now()
	r.healed = r.wholeAt.Sub(mending)
	h.pods.next()
	if a.loses {
		h.lost = slices.DeleteFunc(h.n.Reservations(), func(address string) bool { return !strings.HasPrefix(address, "mv/") })
	}
	h.mustAttach(&r)
	after, err := h.n.FailedSandboxes()
	h.s.Must(err)
	r.failed = after - failed
	h.rows = append(h.rows, r)
	h.s.Logf("%s: seen after %.1f s (%s), whole %.1f s", a.name, r.seen.Seconds(), r.how, r.healed.Seconds())
}

// mustLast demands of the next pods that they have what the act leaves them, since nobody
// mends it: their networks, or the default network alone.
func (h *healing) mustLast(r *row) {
	h.s.Helper()
	if r.takes == "" {
		h.s.Must(h.n.AwaitConf(h.s.Context()))
	} else {
		h.s.Must(h.n.AwaitNetwork(h.s.Context(), r.takes))
	}
	for range 2 {
		p, err := h.pods.one(func() {})
		h.s.Must(err)
		if p.attached() != (r.takes == "") {
			h.s.Errorf("as long as there is %s, pod %s has %q", r.name, p.name, p.interfaces)
		}
	}
	if r.takes != "" {
		h.kept = append(h.kept, h.s.Pod(fmt.Sprintf("kept-%d", r.phase), cluster.On(h.n), cluster.Networks("mv")).AwaitReady())
	}
}

// mustBeTold demands that the agent counts the pods that stayed without their networks, and
// says it on each.
func (h *healing) mustBeTold() {
	h.s.Helper()
	for _, p := range h.kept {
		p.AwaitEvent("NetworksMissing", "delete the pod")
	}
	h.s.Await("the metric of pods without their networks", func() error {
		v, err := h.inspect()
		if err == nil && v.without != float64(len(h.kept)) {
			err = fmt.Errorf("it is %v, and there are %d", v.without, len(h.kept))
		}
		return err
	})
	for _, p := range h.kept {
		p.Delete()
	}
}

// mustAttach demands that a pod which is made now has its network.
func (h *healing) mustAttach(r *row) {
	h.s.Helper()
	p, err := h.pods.one(func() {})
	h.s.Must(err)
	r.podAfter = p.ran.Sub(p.made)
	if !p.attached() || !p.hasStatus {
		h.s.Errorf("after %s, when the node was whole again, pod %s has %q, and a network status: %v", r.name, p.name, p.interfaces, p.hasStatus)
	}
}

// account demands of every pod that it has its network, unless something was done meanwhile
// that lets pods start without.
func (h *healing) account(all []*coming) {
	h.s.Helper()
	for _, p := range all {
		var blame *row
		for n := range h.rows {
			r := &h.rows[n]
			if p.ran.After(r.began) && p.ran.Before(r.wholeAt) {
				r.started++
			}
			if r.silent && p.before <= r.phase && r.phase <= p.after {
				blame = r
			}
		}
		switch {
		case p.attached():
		case blame != nil:
			blame.without = append(blame.without, p.name)
		default:
			h.s.Errorf("pod %s, made in phase %d and running in phase %d, started without its network: it has %q", p.name, p.before, p.after, p.interfaces)
		}
	}
}

// freeByHand waits until the pods are gone, and frees the addresses of those whose records are
// lost, as the documents say.
func (h *healing) freeByHand() {
	h.s.Helper()
	h.s.Await("all pods to be released", func() error {
		_, pods, err := h.s.ReadyPods()
		if err == nil && pods+len(h.n.Journal()) > 0 {
			err = fmt.Errorf("there are %d pods, and the records %q", pods, h.n.Journal())
		}
		return err
	})
	freed := 0
	for _, address := range h.n.Reservations() {
		if slices.Contains(h.lost, address) {
			_, err := h.n.Run("rm", "/var/lib/cni/networks/"+address)
			h.s.Must(err)
			freed++
		}
	}
	h.s.Logf("%d addresses were freed by hand", freed)
}

func (h *healing) report(all []*coming) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "act\theals\tseen s\tby\twhole s\tnext pod s\tpods started\tfailed\twithout")
	for _, r := range h.rows {
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%s\t%.1f\t%.1f\t%d\t%d\t%d %s\n", r.name, cmp.Or(r.heals, "by hand: "+r.undo), r.seen.Seconds(), r.how,
			r.healed.Seconds(), r.podAfter.Seconds(), r.started, r.failed, len(r.without), strings.Join(r.without, " "))
	}
	_ = w.Flush()
	load, _ := os.ReadFile("/proc/loadavg")
	h.s.Logf("%d pods came and went; load %s\n%s", len(all), strings.TrimSpace(string(load)), text.String())
}

// Each of the usual accidents is done to a node while pods come and go. A metric shows it, the
// node heals without hands where that is promised, and then every pod has its network.
func TestE2EHeals(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 2, Plexus: cluster.Without})
	s := c.Scenario(t)
	n := c.Node(1)
	// The plugins are behind a link, as some distributions have them.
	_, err := n.Run("sh", "-ec", "mv /opt/cni/bin /opt/cni/v1; ln -s v1 /opt/cni/bin; cp "+bridgeFile+" /opt/bridge.conflist")
	s.Must(err)
	s.Must(c.Install(t.Context(), cluster.WithAgent))
	s.Network("mv", cluster.Macvlan(69, 10, 250))
	h := &healing{s: s, n: n}
	h.intact = h.whole("at the start")
	stopKeeping := n.KeepRuntime()
	h.pods = startComings(s, n, "mv", 2)
	for _, a := range accidents {
		h.run(a)
	}
	s.Must(c.MountForInstall(t.Context(), "/opt/cni"))
	h.whole("with other mounts")
	for _, a := range accidentsOfLinks {
		h.run(a)
	}
	all, err := h.pods.end()
	restarts, keepErr := stopKeeping()
	h.account(all)
	h.report(all)
	s.Must(errors.Join(err, keepErr))
	s.Logf("the runtime was started again %d times", restarts)
	h.mustBeTold()
	h.freeByHand()
}
