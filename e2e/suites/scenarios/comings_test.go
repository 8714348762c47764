package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/internal/test/poll"
	"github.com/plexus-cni/plexus/types"
)

// listInterfaces prints the interfaces of the network of a pod's processes, which needs no runtime.
const listInterfaces = `for f in $(grep -l "pod$0" /proc/[0-9]*/cgroup 2>/dev/null); do
	[ -e "${f%cgroup}net/dev" ] && tail -n +3 "${f%cgroup}net/dev" | cut -d: -f1 && exit
done`

// atOnce is how many pods of a stream may wait for their start at a time.
const atOnce = 6

// stay bounds how long a pod may take to start, with the runtime's attempts.
const stay = 3 * time.Minute

// coming is a pod that came, and what it had.
type coming struct {
	name        string
	uid         string
	before      int // the phase in which it was made
	after       int // the phase in which it was seen to run
	made, ran   time.Time
	interfaces  []string
	hasStatus   bool
	failedFirst bool
}

// attached reports whether the pod has the network that it selects.
func (p *coming) attached() bool { return slices.Contains(p.interfaces, "net0") }

// comings makes pods with one network on a node, one after the other. One that fails to start
// waits for the runtime's next attempt, and the next one is made meanwhile.
type comings struct {
	s       *cluster.Scenario
	n       *cluster.Node
	network string
	slots   chan struct{}
	stop    chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	phase  int // even: nothing was done to the node
	number int
	all    []*coming
	faults []error
}

func startComings(s *cluster.Scenario, n *cluster.Node, network string, streams int) *comings {
	c := &comings{s: s, n: n, network: network, slots: make(chan struct{}, atOnce), stop: make(chan struct{})}
	for range streams {
		c.running.Go(c.stream)
	}
	return c
}

// stream makes pods until it is stopped.
func (c *comings) stream() {
	for {
		select {
		case <-c.stop:
			return
		case c.slots <- struct{}{}:
		}
		first := make(chan struct{})
		c.running.Go(func() {
			_, err := c.one(sync.OnceFunc(func() { close(first) }))
			c.note(err)
			<-c.slots
		})
		<-first
	}
}

// end stops the streams and waits until every pod has come. It gives all, and the first fault.
func (c *comings) end() ([]*coming, error) {
	close(c.stop)
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) > 0 {
		return c.all, c.faults[0]
	}
	return c.all, nil
}

func (c *comings) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults = append(c.faults, err)
	}
}

// next begins the next phase, and gives its number.
func (c *comings) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase++
	return c.phase
}

func (c *comings) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

// one makes a pod, waits until it runs, and deletes it. settled is called when it runs, or has
// failed for the first time.
func (c *comings) one(settled func()) (*coming, error) {
	defer settled()
	p, err := c.make()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stay)
	defer cancel()
	pods := c.s.Client().CoreV1().Pods(c.s.Namespace)
	err = poll.Until(ctx, stay, "pod "+p.name+" to run", func(ctx context.Context) error {
		pod, err := pods.Get(ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := c.inspect(p, pod); err != nil {
			if !p.failedFirst && c.hasFailed(ctx, p) {
				p.failedFirst = true
				settled()
			}
			return err
		}
		settled()
		return c.awaitStatus(p, pod)
	})
	if err != nil {
		return p, err
	}
	return p, pods.Delete(ctx, p.name, metav1.DeleteOptions{})
}

func (c *comings) make() (*coming, error) {
	c.mu.Lock()
	c.number++
	p := &coming{name: fmt.Sprintf("p%d", c.number), before: c.phase}
	c.all = append(c.all, p)
	c.mu.Unlock()
	template := cluster.PodTemplate(p.name, cluster.On(c.n), cluster.Networks(c.network))
	p.made = time.Now()
	pod, err := c.s.Client().CoreV1().Pods(c.s.Namespace).Create(context.Background(), template, metav1.CreateOptions{})
	if err == nil {
		p.uid = string(pod.UID)
	}
	return p, err
}

// inspect reads the interfaces of a pod that runs.
func (c *comings) inspect(p *coming, pod *corev1.Pod) error {
	if len(p.interfaces) > 0 {
		return nil
	}
	if pod.Status.Phase != corev1.PodRunning {
		return fmt.Errorf("its phase is %s", pod.Status.Phase)
	}
	text, err := c.n.Run("sh", "-c", listInterfaces, p.uid)
	if err != nil || text == "" {
		return fmt.Errorf("it has no process (%w)", err)
	}
	p.after, p.ran, p.interfaces = c.now(), time.Now(), strings.Fields(text)
	return nil
}

// awaitStatus gives an error as long as the network status is to come: that of a pod which
// started while something was done to the node may never come.
func (c *comings) awaitStatus(p *coming, pod *corev1.Pod) error {
	status, err := types.ParseStatus(pod.Annotations[types.AnnotationNetworkStatus])
	p.hasStatus = err == nil && slices.ContainsFunc(status, func(entry types.NetworkStatus) bool {
		return entry.Interface == "net0" && len(entry.IPs) > 0
	})
	if p.hasStatus || !p.attached() || p.before%2 == 1 || p.before != c.now() {
		return nil
	}
	return fmt.Errorf("its network status is %q (%w)", pod.Annotations[types.AnnotationNetworkStatus], err)
}

func (c *comings) hasFailed(ctx context.Context, p *coming) bool {
	events, err := c.s.Client().CoreV1().Events(c.s.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreatePodSandBox,involvedObject.uid=" + p.uid,
	})
	return err == nil && len(events.Items) > 0
}
