package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/types"
)

// The large cluster, as one of its nodes sees it.
const (
	scaleNetworks   = 10_000
	scaleConfigSize = 1000 // bytes
	scalePods       = 5_000
	scalePodsOnNode = 250
	scaleWriters    = 16
	scaleAdds       = 20
	// scaleRest is for the agent to give memory back, and for the API server to be quiet.
	scaleRest = 5 * time.Second
)

// traffic is what an agent and the API server exchanged.
type traffic struct {
	requests       map[string]int // by verb and resource
	sent, received int64          // bytes on the wire, TLS and compression included
}

func (t traffic) minus(before traffic) traffic {
	d := traffic{requests: map[string]int{}, sent: t.sent - before.sent, received: t.received - before.received}
	for kind, n := range t.requests {
		if n -= before.requests[kind]; n > 0 {
			d.requests[kind] = n
		}
	}
	return d
}

// scale is what one agent costs in the large cluster.
type scale struct {
	before, start, idle, adds, dels, churn traffic
	ready                                  time.Duration // from the agent's start
	memory                                 map[string]int64
	heap                                   int64
}

// measureScale fills the cluster and measures one agent. It is the last measurement: the cluster
// stays full.
func (l *lab) measureScale(ctx context.Context) (*scale, error) {
	fmt.Fprintf(os.Stderr, "bench: making %d networks and %d pods\n", scaleNetworks, scalePods)
	l.endServers()
	pods, err := l.fill(ctx)
	if err != nil {
		return nil, err
	}
	wire, err := newWiretap(strings.TrimPrefix(l.cluster.Server(), "https://"))
	if err != nil {
		return nil, err
	}
	defer wire.listener.Close()
	before, err := l.traffic(wire)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	a, err := l.startAgentOver(ctx, "agent-scale", wire.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	m := &scale{ready: time.Since(began), before: before}
	return m, m.measure(ctx, l, a, wire, pods)
}

func (m *scale) measure(ctx context.Context, l *lab, a *agent, wire *wiretap, pods []types.Pod) (err error) {
	now := func() traffic {
		time.Sleep(scaleRest)
		t, auditErr := l.traffic(wire)
		err = errors.Join(err, auditErr)
		return t
	}
	started := now()
	if m.memory, m.heap, err = a.memory(ctx); err != nil {
		return err
	}
	idle := now()
	m.start, m.idle = started.minus(m.before), idle.minus(started)
	s, err := l.scaleSide(a)
	if err != nil {
		return err
	}
	for i := range pods {
		if err := s.attach(ctx, sandbox{fmt.Sprintf("scale-%d", i), burstNetns(i), pods[i]}); err != nil {
			return err
		}
	}
	added := now()
	for i := range pods {
		if err := s.detach(ctx, sandbox{fmt.Sprintf("scale-%d", i), burstNetns(i), pods[i]}); err != nil {
			return err
		}
	}
	deleted := now()
	if err := l.churn(ctx, pods); err != nil {
		return err
	}
	m.adds, m.dels, m.churn = added.minus(idle), deleted.minus(added), now().minus(deleted)
	return err
}

// scaleSide is plexus with the agent of the large cluster.
func (l *lab) scaleSide(a *agent) (*side, error) {
	s := l.newSide()
	return s, s.load(object{"cniVersion": "1.1.0", "name": "plexus-scale", "plugins": []object{{
		"type": "plexus", "delegates": []object{defaultNetwork()}, "agentSocket": a.socket,
	}}})
}

// fill makes the networks and pods of the large cluster, and gives those pods of the node that
// are to be attached.
func (l *lab) fill(ctx context.Context) ([]types.Pod, error) {
	networks := l.cluster.Dynamic().Resource(kube.NADs).Namespace(namespace)
	err := inParallel(scaleNetworks, func(i int) error {
		o := networkObject(0)
		o["metadata"].(object)["name"] = fmt.Sprintf("scale-%d", i)
		o["spec"] = object{"config": scaleConfig(i)}
		_, err := networks.Create(ctx, &unstructured.Unstructured{Object: o}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	client := l.cluster.Client().CoreV1().Pods(namespace)
	mine := make([]types.Pod, scaleAdds)
	err = inParallel(scalePods, func(i int) error {
		node := nodeName
		if i >= scalePodsOnNode {
			node = fmt.Sprintf("other-%d", i/scalePodsOnNode)
		}
		no := false
		pod, err := client.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name:        fmt.Sprintf("scale-%d", i),
				Annotations: map[string]string{types.AnnotationNetworks: fmt.Sprintf("scale-%d,scale-%d", i, i+1)},
			},
			Spec: corev1.PodSpec{NodeName: node, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "c", Image: "localhost/none"}}},
		}, metav1.CreateOptions{})
		if err == nil && i < scaleAdds {
			mine[i] = types.Pod{Namespace: namespace, Name: pod.Name, UID: string(pod.UID)}
		}
		return err
	})
	return mine, err
}

// scaleConfig is a network's configuration of scaleConfigSize bytes or a little more, of what
// grows in real ones: addresses that are not to be given out.
func scaleConfig(i int) string {
	subnet := fmt.Sprintf("10.%d.%d", 100+i/250, i%250)
	var excluded []string
	for {
		config := string(encode(object{"cniVersion": "1.0.0", "name": fmt.Sprintf("vlan-%d", i), "plugins": []object{
			{"type": "macvlan", "master": "uplink0", "mode": "bridge", "ipam": object{
				"type": "host-local", "ranges": []any{[]object{{"subnet": subnet + ".0/24", "gateway": subnet + ".1"}}}, "exclude": excluded,
			}},
			{"type": "tuning", "sysctl": object{"net.ipv4.conf.IFNAME.arp_notify": "1", "net.ipv4.conf.IFNAME.rp_filter": "2"}},
		}}))
		if len(config) >= scaleConfigSize {
			return config
		}
		excluded = append(excluded, fmt.Sprintf("%s.%d/32", subnet, 2+len(excluded)*(i%7+1)%253))
	}
}

// churn changes the state of pods, as kubelets do: of the node's own, and of as many of others.
func (l *lab) churn(ctx context.Context, mine []types.Pod) error {
	client := l.cluster.Client().CoreV1().Pods(namespace)
	for i := range mine {
		for _, name := range []string{mine[i].Name, fmt.Sprintf("scale-%d", scalePodsOnNode+i)} {
			pod, err := client.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			pod.Status.Phase = corev1.PodRunning
			if _, err := client.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

func inParallel(n int, do func(int) error) error {
	next, faults := make(chan int), make([]error, scaleWriters)
	var writers sync.WaitGroup
	for w := range scaleWriters {
		writers.Go(func() {
			for i := range next {
				if err := do(i); err != nil && faults[w] == nil {
					faults[w] = err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	writers.Wait()
	return errors.Join(faults...)
}

// traffic counts what the API server has recorded of the agent, and the bytes on the wire.
func (l *lab) traffic(wire *wiretap) (traffic, error) {
	user := "system:serviceaccount:" + agentNamespace + ":" + agentAccount
	t := traffic{requests: map[string]int{}, sent: wire.sent.Load(), received: wire.received.Load()}
	events, err := l.cluster.Audit(func(e kube.AuditEvent) bool { return e.Caller() == user })
	for _, e := range events {
		t.requests[strings.TrimSuffix(e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")]++
	}
	return t, err
}

// memory gives what the kernel says of an agent's memory, in bytes, and its heap.
func (a *agent) memory(ctx context.Context) (map[string]int64, int64, error) {
	memory, err := memoryOf(a.cmd.Process.Pid)
	if err != nil {
		return nil, 0, err
	}
	heap, err := a.series(ctx, "go_memstats_heap_alloc_bytes")
	return memory, int64(heap[""]), err
}

// wiretap forwards connections to the API server and counts their bytes.
type wiretap struct {
	listener       net.Listener
	server         string
	sent, received atomic.Int64
}

func newWiretap(server string) (*wiretap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wiretap{listener: listener, server: server}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.forward(conn)
		}
	}()
	return w, nil
}

func (w *wiretap) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(counting{server, &w.sent}, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(counting{client, &w.received}, server)
}

type counting struct {
	io.Writer
	count *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.count.Add(int64(n))
	return n, err
}

// kubeconfigOver gives a copy of a kubeconfig that leads over another address.
func (l *lab) kubeconfigOver(kubeconfig, address string) (string, error) {
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		return "", err
	}
	path := filepath.Join(l.dir, "kubeconfig-"+strings.ReplaceAll(address, ":", "-"))
	text := strings.ReplaceAll(string(data), l.cluster.Server(), "https://"+address)
	return path, os.WriteFile(path, []byte(text), 0o600)
}
