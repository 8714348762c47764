// Package agent is the resident part of a node: it answers the plugin from watches, and
// publishes the status that the journal records.
//
// It needs no privilege: it runs no plugin, enters no namespace and writes no file but its
// socket.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/probes"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/k8sclient/kubelet"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

// Options configure an agent.
type Options struct {
	Kubeconfig string // a file; without one, the environment of a pod is used
	NodeName   string
	Socket     string // on which it answers plugins
	StateDir   string // the journal, read only
	// Devices asks the kubelet about the devices of pods.
	Devices kubelet.Devices
	// MetricsAddress serves probes and metrics; empty serves neither.
	MetricsAddress string
	// MetricsCert and MetricsKey are the files by which it serves them over TLS; empty for plain HTTP.
	MetricsCert, MetricsKey string
	// MetricsAuthentication serves metrics only to those whose token the API server accepts, and
	// who may get /metrics. It needs TLS.
	MetricsAuthentication bool
	// EventsForAllPods also writes events on pods that have their default network alone.
	EventsForAllPods bool
	// RemoveTaint is the key of the taint that is taken off the node once it uses Plexus; empty
	// for none.
	RemoveTaint string
	Log         *slog.Logger
}

func (o *Options) check() error {
	var faults []error
	for _, required := range []struct{ flag, value string }{{"node-name", o.NodeName}, {"socket", o.Socket}, {"state-dir", o.StateDir}} {
		if required.value == "" {
			faults = append(faults, fmt.Errorf("%s: must be set", required.flag))
		}
	}
	if o.MetricsAuthentication && o.MetricsCert == "" {
		faults = append(faults, errors.New("--metrics-authentication: needs --metrics-tls-cert and --metrics-tls-key, because a token must not go in clear text"))
	}
	return errors.Join(faults...)
}

// agent is an agent that runs.
type agent struct {
	opts      *Options
	cache     *watched.Cache
	live      *k8sclient.Client
	publisher *publisher
	claims    *claimPublisher
	events    *events
	traces    *traces
	metrics   *metrics
	reports   chan *types.PublishRequest
	watchdog  *watchdog
	since     moment // it serves
	use       *nodeUse
	name      *nodeName
	notices   *notices
	untaint   *untaint
	without   *unattached
	failures  failures
	// giveUp ends a process that does not answer. It does not wait for its parts, since one
	// of them hangs.
	giveUp func(reason error)
	log    *slog.Logger
}

// Run runs an agent until ctx ends. It fails where its own set-up or the folder of the
// socket is wrong, and where a folder that is mounted for it was moved or removed on the
// host; it waits for whatever else is missing.
func Run(ctx context.Context, opts Options) error {
	if err := opts.check(); err != nil {
		return err
	}
	certificate, err := probes.LoadCertificate(opts.MetricsCert, opts.MetricsKey)
	if err != nil {
		return err
	}
	klog.SetSlogLogger(opts.Log)
	ctx, cancel := context.WithCancelCause(ctx)
	var web sync.WaitGroup
	defer web.Wait()
	defer cancel(nil)
	folders := opts.folders() // as they are now, and not when the goroutine begins
	web.Go(func() { cancel(host.AwaitMoved(ctx, folderCheck, folders...)) })
	m, ready := newMetrics(), &readiness{}
	server := &httpServer{address: opts.MetricsAddress, certificate: certificate, patience: webPatience, ready: ready.fault, metrics: m, log: opts.Log}
	if opts.MetricsAuthentication {
		server.readers = newReaders(opts.Log)
	}
	web.Go(func() { server.run(ctx) })
	a, err := newAgent(ctx, &opts, m)
	if ctx.Err() != nil {
		return reasonToEnd(ctx)
	}
	if err != nil {
		return err
	}
	ready.set(a.ready)
	if server.readers != nil {
		server.readers.ask(a.live)
	}
	return errors.Join(a.run(ctx), reasonToEnd(ctx))
}

// reasonToEnd gives the error for an agent that ends by itself; being asked to end is none.
func reasonToEnd(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, host.ErrMoved) {
		return cause
	}
	return nil
}

var errNoCredentials = errors.New("it has no credentials for the API server yet")

// readiness gives the reason why the agent is not ready, even before it is made.
type readiness struct{ ask atomic.Pointer[func() error] }

func (r *readiness) set(ask func() error) { r.ask.Store(&ask) }

func (r *readiness) fault() error {
	ask := r.ask.Load()
	if ask == nil {
		return errNoCredentials
	}
	return (*ask)()
}

// moment is a time that others read.
type moment struct{ at atomic.Int64 }

func (m *moment) set(at time.Time) { m.at.Store(at.UnixNano()) }

func (m *moment) load() time.Time {
	if at := m.at.Load(); at > 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// ready gives the reasons why the agent does not do its work.
func (a *agent) ready() error {
	return errors.Join(a.cache.Ready(), a.publisher.records.reported.ready(), a.name.ready())
}

// loadConfig waits for credentials that are not there yet.
func loadConfig(ctx context.Context, opts *Options) (*rest.Config, error) {
	for {
		config, err := k8sclient.LoadConfig(opts.Kubeconfig)
		if types.CodeOf(err, 0) != types.CodeTryAgainLater || ctx.Err() != nil {
			return config, err
		}
		opts.Log.Warn("waiting for credentials", "error", err)
		pause(ctx, listenPause)
	}
}

func newAgent(ctx context.Context, opts *Options, m *metrics) (*agent, error) {
	bootID, err := host.BootID()
	if err != nil {
		return nil, err
	}
	config, err := loadConfig(ctx, opts)
	if err != nil {
		return nil, err
	}
	config.UserAgent = "plexus-agent/" + version.Version
	config.QPS = -1 // the few requests have bounds of their own
	// One connection for everything: ten thousand nodes keep one each.
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	live, err := k8sclient.NewResident(config, client, k8sclient.Options{NodeName: opts.NodeName, UserAgent: config.UserAgent})
	if err != nil {
		return nil, err
	}
	a := &agent{
		opts: opts, live: live, metrics: m, reports: make(chan *types.PublishRequest, maxReports), log: opts.Log,
		watchdog: &watchdog{socket: opts.Socket, pause: watchdogPause, failures: watchdogFailures, log: opts.Log},
		giveUp: func(reason error) {
			opts.Log.Error("the agent ends, to be started again", "error", reason)
			os.Exit(1)
		},
	}
	a.publisher = newPublisher(newRecords(opts.StateDir, bootID, opts.Log), a.metrics, opts.Log)
	a.claims = newClaimPublisher(a.publisher.records, a.metrics, opts.Log)
	a.claims.apply = live.ApplyClaimStatus
	a.cache, err = watched.New(watched.Options{
		Config: config, HTTP: client, Node: opts.NodeName, Live: live,
		PodChanged: a.publisher.enqueue, Count: a.countFacts, Log: opts.Log,
	})
	if err != nil {
		return nil, err
	}
	a.publisher.pod, a.publisher.patch = a.cache.Pod, live.PatchStatus
	if a.events, err = newEvents(config, client, opts.NodeName, opts.EventsForAllPods, a.metrics); err != nil {
		return nil, err
	}
	if a.traces, err = newTraces(opts.NodeName, a.metrics, opts.Log); err != nil {
		return nil, err
	}
	a.metrics.registry.MustRegister(&gauges{
		journal: a.publisher.records.tally, queue: a.publisher.backlog, caches: a.cache.Sizes,
	})
	a.bindNode(live, k8sclient.NodeOfToken(config))
	return a, nil
}

// bindNode makes what finds out whether the node uses Plexus, and acts on that. bound is the
// node that the agent's own token names.
func (a *agent) bindNode(live *k8sclient.Client, bound string) {
	node, records := a.opts.NodeName, a.publisher.records
	a.name = &nodeName{name: node, bound: bound, exists: live.NodeExists, elsewhere: live.RunsElsewhere, stranger: func() (types.Pod, bool) {
		if a.cache.Ready() != nil {
			return types.Pod{}, false
		}
		return records.stranger(a.cache.Pod)
	}}
	a.use = &nodeUse{socket: a.opts.Socket, now: time.Now, own: map[string]func() error{
		types.UseJournal: records.reported.ready, types.UseNodeName: a.name.ready,
	}}
	a.notices = &notices{now: time.Now, write: func(kind, reason, message string) { a.events.addToNode(node, kind, reason, message) }}
	a.untaint = &untaint{key: a.opts.RemoveTaint, node: node, remove: live.RemoveTaint, now: time.Now, log: a.log}
	a.without = &unattached{
		pods: a.cache.EachPod, log: a.log, tell: a.tellUnattached,
		trusted: func() bool { return !a.since.load().IsZero() && a.ready() == nil }, whole: records.areWhole,
		running: func(ctx context.Context) (map[string]bool, error) { return live.Running(ctx, node) },
		attached: func(ref types.Ref, pod k8sclient.PodObject) bool {
			_, _, attached := records.newest(ref, pod.Is)
			return attached
		},
	}
	a.metrics.registry.MustRegister(inUse{a.use}, podsWithout{a.without})
}

func (a *agent) countFacts(kind string, live bool) {
	source := "cache"
	if live {
		source = "live"
	}
	a.metrics.facts.WithLabelValues(kind, source).Inc()
}

// run waits for the socket, if another agent has it, and then serves.
func (a *agent) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	for _, part := range []func(context.Context){a.cache.Run, a.processReports, a.trimMemory, a.name.run, a.watchNode, a.without.run} {
		parts.Go(func() { part(ctx) })
	}
	var publishing sync.Once
	publish := func() {
		parts.Go(func() { a.publisher.run(ctx) })
		parts.Go(func() { a.claims.run(ctx) })
	}
	for {
		err := a.serve(ctx, func() { publishing.Do(publish) })
		if err != nil || ctx.Err() != nil {
			return err
		}
		a.log.Error("the socket was removed; it is made again", "socket", a.opts.Socket)
	}
}

// serve answers until ctx ends or the socket is removed.
func (a *agent) serve(ctx context.Context, publish func()) error {
	seat, err := takeSeat(ctx, a.opts.Socket, func() {
		a.log.Info("another agent answers on the socket; waiting for it to end", "socket", a.opts.Socket)
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was asked to stop while it waited
		}
		return err
	}
	defer seat.leave()
	publish()
	a.metrics.serving.Set(1)
	defer a.metrics.serving.Set(0)
	a.log.Info("serving", "socket", a.opts.Socket, "node", a.opts.NodeName, "state", a.opts.StateDir, "version", version.Version)
	a.since.set(time.Now())
	defer a.since.set(time.Time{})
	s := newServer(handlers{facts: a.facts, publish: a.accept, node: a.state}, a.metrics, a.log)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		seat.watch(serving)
		stop()
	}()
	go func() {
		if err := a.watchdog.run(serving); err != nil {
			a.giveUp(err)
		}
	}()
	return s.serve(serving, seat)
}

// facts answers the plugin: pod and networks from the watches, devices from the kubelet.
func (a *agent) facts(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	facts, err := a.cache.Facts(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := a.opts.Devices.Complete(ctx, facts); err != nil {
		return nil, err
	}
	if err := claims.Complete(ctx, a.cache, request, facts); err != nil {
		return nil, err
	}
	if facts.Devices != nil {
		a.countFacts("devices", true)
	}
	return facts, nil
}

// gcPercent spends a little more time on garbage collection to save memory on every node.
const gcPercent = 30

// trimMemory returns the memory that the first lists took, and keeps the heap small.
func (a *agent) trimMemory(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// GOMEMLIMIT is that of the container, and not all memory is the heap.
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
	for a.cache.Synced(ctx) != nil {
		pause(ctx, rescanPause)
		if ctx.Err() != nil {
			return
		}
	}
	logKnown(a.log, a.cache.Sizes())
	debug.FreeOSMemory()
}

// logKnown says how much the first lists brought.
func logKnown(log *slog.Logger, sizes map[string]watched.Size) {
	log.Info("the pods of this node and all networks are known", "pods", sizes[watched.KindPods].Objects, "networks", sizes[watched.KindNetworks].Objects)
}

func newServer(do handlers, m *metrics, log *slog.Logger) *server {
	return &server{
		handlers: do, checkPeer: rpc.CheckPeer, metrics: m, log: log, conns: connSet{},
		limits: limits{message: maxRequest, request: requestTimeout, answer: answerTimeout},
	}
}
