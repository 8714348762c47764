package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/internal/test/poll"
	"github.com/plexus-cni/plexus/types"
)

const (
	chaosPairs    = 200
	chaosWorkers  = 8
	survivorEvery = 5 // one pod in so many stays attached until the end
	chaosOutage   = 2 * time.Second
	leastKills    = 10

	chaosSeed = "PLEXUS_CHAOS_SEED" // in the environment: to repeat a run
)

// chaos is a run in which the agent is killed, and the API fails, at random.
type chaos struct {
	n          *node
	seed       uint64
	store      string // host-local's
	kubeconfig string // the agent's

	mu        sync.Mutex
	survivors []*sandbox
	attached  int            // ADDs that succeeded
	refused   map[string]int // ADDs that failed, by why
	fallbacks map[string]int // questions that the agent did not answer, by why
	faults    map[string]int // requests that each has met
}

// The agent is killed at random while pods come and go and the API fails: every ADD
// succeeds whole or fails whole, every DEL succeeds, no address is left, and the
// annotation of every pod that stays becomes right.
func TestKubeAgentKilledAtRandom(t *testing.T) {
	c := newChaos(t)
	working := c.work()
	faulty, heal := context.WithCancel(t.Context())
	defer heal()
	var faults sync.WaitGroup
	faults.Go(func() { c.injectFaults(faulty) })
	kills := c.torment(working)
	heal()
	faults.Wait()
	if t.Failed() {
		return
	}

	c.n.proxy.Forget() // from here on the API is well
	a := c.n.startAgent(c.kubeconfig)
	a.awaitReady()
	for _, s := range c.survivors {
		s.awaitStatus()
		c.mustBeWhole(s)
	}
	c.n.await("the queue to be empty", func() error { return a.wantMetric("plexus_publish_queue_length", "0") })
	for _, s := range c.survivors {
		s.must("DEL")
		c.mustBeGone(s)
	}
	a.stop()
	c.mustBeClean()
	c.judge(kills)
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	n := newNode(t)
	c := &chaos{
		n: n, seed: uint64(time.Now().UnixNano()), store: n.Path("ipam"), kubeconfig: n.agentKubeconfig(),
		refused: map[string]int{}, fallbacks: map[string]int{}, faults: map[string]int{},
	}
	if text := os.Getenv(chaosSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		check.Must(t, err)
		c.seed = seed
	}
	t.Logf("to repeat the run: %s=%d", chaosSeed, c.seed)
	n.config = testnode.Conf{
		"agentSocket": n.socket(), "kubeconfig": n.kubeconfig(), "logToStderr": true, "logLevel": "info",
		"delegates": []testnode.Conf{c.network("chaos-m", "10.94.0.0/24", "")},
	}
	for name, config := range map[string]testnode.Conf{
		"a": c.network("chaos-a", "10.95.0.0/24", ""), "b": c.network("chaos-b", "10.96.0.0/24", ""),
		"scarce": c.network("chaos-s", "10.97.0.0/24", "10.97.0.4"), // three addresses
	} {
		n.cluster.MakeNAD(t, kube.NAD{Namespace: "chaos", Name: name, Config: toJSON(t, config)})
	}
	return c
}

// network is one of the bridge plugin with addresses of this run's own.
func (c *chaos) network(name, subnet, last string) testnode.Conf {
	network := bridge(name, subnet, name == "chaos-m")
	ipam := testnode.Conf{"type": "host-local", "subnet": subnet, "dataDir": c.store}
	if last != "" {
		ipam["rangeEnd"] = last
	}
	network["ipam"] = ipam
	return network
}

// upTo gives a duration of less than most.
func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

func (c *chaos) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(c.seed, stream)) }

// work begins the pods' life; what it gives is closed at its end.
func (c *chaos) work() <-chan struct{} {
	pods := make(chan int)
	go func() {
		defer close(pods)
		for i := range chaosPairs {
			pods <- i
		}
	}()
	done := make(chan struct{})
	var workers sync.WaitGroup
	for range chaosWorkers {
		workers.Go(func() {
			for i := range pods {
				c.pair(i)
			}
		})
	}
	go func() {
		workers.Wait()
		close(done)
	}()
	return done
}

// pair is the life of one pod.
func (c *chaos) pair(i int) {
	networks := "a,b"
	if i%10 == 0 || i%20 == 19 { // some of these stay, and take what there is
		networks = "a,scarce"
	}
	s := c.n.sandbox(c.n.cluster.MakePod(c.n.t, kube.Pod{
		Namespace: "chaos", Name: fmt.Sprintf("p%03d", i), Node: c.n.name, Annotations: map[string]string{types.AnnotationNetworks: networks},
	}))
	out := s.call("ADD")
	c.count(out)
	switch {
	case out.Err != nil:
		if out.Err.Code != types.CodeTryAgainLater && !strings.Contains(out.Err.Msg, "10.97.0.") {
			c.n.t.Errorf("ADD of %s: code %d: %s\n%s", s.pod.Name, out.Err.Code, out.Err.Msg, out.Stderr)
		}
		c.mustBeGone(s)
	default:
		c.mustBeWhole(s)
		if i%survivorEvery == survivorEvery-1 {
			c.mu.Lock()
			c.survivors = append(c.survivors, s)
			c.mu.Unlock()
			return
		}
	}
	if out := s.call("DEL"); out.Err != nil {
		c.n.t.Errorf("DEL of %s: code %d: %s\n%s", s.pod.Name, out.Err.Code, out.Err.Msg, out.Stderr)
	}
	c.mustBeGone(s)
	s.Destroy()
}

// notAnswered is how plexus logs that an agent gave no answer.
var notAnswered = regexp.MustCompile(`agent did not answer.*no answer: ((?:send: )?(?:EOF|unexpected EOF|[a-z]+ unix [^;]*: [a-z ]+|[^;]*))`)

func (c *chaos) count(out *testnode.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if out.Err == nil {
		c.attached++
	} else {
		c.refused[fmt.Sprintf("code %d: %s", out.Err.Code, withoutNames(out.Err.Msg))]++
	}
	for _, line := range strings.Split(out.Stderr, "\n") {
		if found := notAnswered.FindStringSubmatch(line); found != nil {
			c.fallbacks[withoutNames(found[1])]++
		} else if _, said, found := strings.Cut(line, `agent did not answer, asking the API server" error=`); found {
			c.fallbacks["it said: "+withoutNames(said)]++
		}
	}
}

// variable is what differs between two errors that are the same.
var variable = regexp.MustCompile(`/\S*\.sock\b|p\d{3}\b|127\.0\.0\.1:\d+|[0-9.]+m?s\b|sb-[0-9a-f]{8}|\d+ attempts`)

func withoutNames(text string) string {
	const enough = 200
	text = variable.ReplaceAllString(text, "*")
	return text[:min(len(text), enough)]
}

// mustBeWhole demands the interfaces that a complete record tells of.
func (c *chaos) mustBeWhole(s *sandbox) {
	record, err := journal.New(c.n.stateDir()).Read(journal.Key{ContainerID: s.ID, Network: "plexus", IfName: "eth0"})
	if err != nil || !record.Complete {
		c.n.t.Errorf("pod %s is attached, but its record is complete: %v, %v", s.pod.Name, err == nil && record.Complete, err)
		return
	}
	want := map[string][]string{}
	for _, entry := range record.Status {
		want[entry.Interface] = entry.IPs
	}
	got := s.addresses()
	if !maps.EqualFunc(want, got, slices.Equal) || len(got) != 3 {
		c.n.t.Errorf("pod %s: its namespace has %v, its status %v", s.pod.Name, got, want)
	}
	for name, addresses := range got {
		if len(addresses) != 1 || !slices.Contains(c.reserved(s), addresses[0]) {
			c.n.t.Errorf("pod %s: %s has %v, reserved are %v", s.pod.Name, name, addresses, c.reserved(s))
		}
	}
}

// mustBeGone demands that nothing of the sandbox is left: no interface, no record, no
// address.
func (c *chaos) mustBeGone(s *sandbox) {
	if got := s.addresses(); len(got) > 0 {
		c.n.t.Errorf("pod %s: its namespace still has %v", s.pod.Name, got)
	}
	if records, err := journal.New(c.n.stateDir()).OfContainer(s.ID); err != nil || len(records) > 0 {
		c.n.t.Errorf("pod %s: its records are left: %v, %v", s.pod.Name, records, err)
	}
	if left := c.reserved(s); len(left) > 0 {
		c.n.t.Errorf("pod %s: its addresses are left: %v", s.pod.Name, left)
	}
}

// reserved gives the addresses that host-local holds for a sandbox.
func (c *chaos) reserved(s *sandbox) (addresses []string) {
	files, err := filepath.Glob(c.store + "/*/10.*")
	check.Must(c.n.t, err)
	for _, file := range files {
		// One of another sandbox may go meanwhile.
		if holder, _ := os.ReadFile(file); strings.HasPrefix(string(holder), s.ID) {
			addresses = append(addresses, filepath.Base(file))
		}
	}
	return addresses
}

// mustBeClean demands that nothing of any sandbox is left on the node.
func (c *chaos) mustBeClean() {
	files, err := filepath.Glob(c.store + "/*/10.*")
	check.Must(c.n.t, err)
	if len(files) > 0 {
		c.n.t.Errorf("addresses are left: %v", files)
	}
	for _, name := range []string{"m", "a", "b", "s"} {
		out, err := exec.Command("ip", "-o", "link", "show", "master", "br-chaos-"+name).CombinedOutput()
		if err != nil || len(out) > 0 {
			c.n.t.Errorf("interfaces are left in bridge br-chaos-%s: %v: %s", name, err, out)
		}
	}
	c.n.mustBeClean()
}

// judge demands that the run was what it was meant to be.
func (c *chaos) judge(kills map[string]int) {
	t := c.n.t
	refused, fallen, killed := total(c.refused), total(c.fallbacks), total(kills)
	t.Logf("%d ADDs succeeded (%d pods stayed), %d failed: %v", c.attached, len(c.survivors), refused, c.refused)
	t.Logf("plexus did without the agent %d times: %v", fallen, c.fallbacks)
	t.Logf("the agent was killed %d times: %v", killed, kills)
	for name, hits := range c.faults {
		t.Logf("fault %s met %d requests", name, hits)
		if hits == 0 {
			t.Errorf("fault %s met no request", name)
		}
	}
	inTheMiddle := 0
	for why, count := range c.fallbacks {
		if strings.Contains(why, "EOF") || strings.Contains(why, "reset by peer") || strings.Contains(why, "broken pipe") {
			inTheMiddle += count
		}
	}
	switch {
	case killed < leastKills:
		t.Errorf("the agent was killed only %d times", killed)
	case inTheMiddle == 0:
		t.Error("the agent never died with a question to answer")
	case !strings.Contains(fmt.Sprint(c.refused), "10.97.0."):
		t.Error("no ADD failed after its first plugin had run")
	case fallen >= chaosPairs:
		t.Error("the agent never answered")
	case refused == chaosPairs || len(c.survivors) < chaosPairs/survivorEvery/2:
		t.Error("too few pods were attached for this to tell anything")
	}
}

func total(counts map[string]int) (sum int) {
	for _, count := range counts {
		sum += count
	}
	return sum
}

// torment starts the agent and kills it, at random, until the work is done.
func (c *chaos) torment(working <-chan struct{}) map[string]int {
	random, log := c.random(1), filepath.Join(c.n.t.TempDir(), "agents.log")
	c.n.t.Cleanup(func() {
		if text, _ := os.ReadFile(log); c.n.t.Failed() {
			c.n.t.Logf("the end of the agents' log:\n%s", text[max(0, len(text)-20_000):])
		}
	})
	kills := map[string]int{}
	for !over(working) {
		a := c.n.launch(log, c.n.agentCommand(c.kubeconfig))
		how := "as it starts"
		switch random.IntN(3) {
		case 0:
			wait(working, upTo(random, 150*time.Millisecond))
		case 1:
			how = "as it works"
			wait(working, 200*time.Millisecond+upTo(random, time.Second))
		case 2:
			how = "as it hangs with a question"
			wait(working, upTo(random, 500*time.Millisecond))
			check.Must(c.n.t, a.cmd.Process.Signal(unix.SIGSTOP))
			c.awaitQuestion(working)
		}
		if over(working) {
			a.kill()
			break
		}
		a.kill()
		kills[how]++
		wait(working, upTo(random, 200*time.Millisecond))
	}
	return kills
}

// awaitQuestion waits until somebody is connected to the agent, or there is nobody left
// who might be.
func (c *chaos) awaitQuestion(working <-chan struct{}) {
	// None in that time is no failure: it is killed all the same.
	_ = poll.Until(c.n.t.Context(), 2*time.Second, "a question", func(context.Context) error {
		sockets, err := os.ReadFile("/proc/net/unix")
		check.Must(c.n.t, err)
		if !over(working) && strings.Count(string(sockets), c.n.socket()) < 2 { // one of them listens
			return errors.New("nobody asks")
		}
		return nil
	})
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func wait(done <-chan struct{}, d time.Duration) {
	select {
	case <-done:
	case <-time.After(d):
	}
}

// injectFaults makes the API fail now and then, and once altogether.
func (c *chaos) injectFaults(ctx context.Context) {
	kinds := map[string]faultproxy.Fault{
		"429":            {Status: 429, RetryAfter: time.Second, Times: 2},
		"500":            {Status: 500, Times: 3},
		"reset":          {Reset: true, Times: 2},
		"lost answer":    {Lose: true, Times: 1},
		"conflict":       {Match: statusPatches, Status: 409, Times: 1},
		"no watch":       {Match: faultproxy.Match{Verb: "watch"}, Status: 503, Times: 1},
		"slow":           {Delay: 300 * time.Millisecond, Times: 4},
		"slow pod reads": {Match: podReads, Delay: 500 * time.Millisecond, Times: 3},
	}
	random, names, injected := c.random(2), slices.Sorted(maps.Keys(kinds)), map[string][]*faultproxy.Injection{}
	outage := c.n.proxy.Inject(faultproxy.Fault{Reset: true})
	wait(ctx.Done(), chaosOutage)
	outage.Remove()
	injected["outage"] = append(injected["outage"], outage)
	for i := 0; ctx.Err() == nil; i++ {
		name := names[random.IntN(len(names))]
		if i < len(names) {
			name = names[i] // each at least once
		}
		injected[name] = append(injected[name], c.n.proxy.Inject(kinds[name]))
		wait(ctx.Done(), upTo(random, 400*time.Millisecond))
	}
	for name, injections := range injected {
		for _, injection := range injections {
			c.faults[name] += injection.Hits()
		}
	}
}
