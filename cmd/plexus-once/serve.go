package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

const (
	publishTimeout = 5 * time.Second  // of a status that names no timeout of its own
	afterTimeout   = 15 * time.Second // of everything that is done after the answer
)

// source is where facts come from and where status and events go: an API server or
// a folder of manifests.
type source interface {
	Facts(context.Context, *types.FactsRequest) (*types.Facts, error)
	claims.Reader
	PublishStatus(context.Context, types.Pod, []types.NetworkStatus) (settled bool, err error)
	Event(context.Context, types.Pod, types.PodEvent) error
}

// server answers one plugin.
type server struct {
	opts   *options
	source func() (source, error) // made once, at the first call
	quiet  func()                 // called before an answer after which work goes on
	after  sync.WaitGroup         // that work
}

func newServer(opts *options) *server {
	return &server{
		opts:   opts,
		source: sync.OnceValues(func() (source, error) { return newSource(opts) }),
		quiet:  sync.OnceFunc(silence),
	}
}

func newSource(opts *options) (source, error) {
	if opts.manifests != "" {
		return k8sclient.Manifests{Dir: opts.manifests}, nil
	}
	return k8sclient.New(k8sclient.Options{
		Kubeconfig: opts.kubeconfig,
		NodeName:   opts.nodeName,
		UserAgent:  "plexus-once/" + version.Version,
	})
}

// errNoAgent is the error for a request that only an agent can answer.
var errNoAgent = errors.New("plexus-once knows nothing about its node: ask the agent")

// serve answers until the other side closes the connection, and then finishes what
// the answers left to do.
func (s *server) serve(rw io.ReadWriter) {
	defer s.after.Wait()
	conn := rpc.NewConn(rw)
	for {
		line, err := conn.ReadLine()
		if errors.Is(err, rpc.ErrTooLong) {
			_ = conn.Send(types.ErrorResponse(err)) // the rest of the stream makes no sense
		}
		if err != nil {
			return
		}
		response, afterwards := s.answer(line)
		if afterwards != nil {
			s.quiet()
		}
		if err := conn.Send(response); err != nil {
			_ = conn.Send(types.ErrorResponse(err)) // too long to send, or the asker is gone
		}
		if afterwards != nil {
			s.later(afterwards)
		}
	}
}

// later runs the work that comes after an answer.
func (s *server) later(do func(context.Context)) {
	s.after.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), afterTimeout)
		defer cancel()
		do(ctx)
	})
}

// answer gives the response to one request and the work that comes after it is sent.
func (s *server) answer(line []byte) (*types.Response, func(context.Context)) {
	request, err := types.ParseRequest(line)
	if err != nil {
		return types.ErrorResponse(err), nil
	}
	if request.Node {
		return types.ErrorResponse(errNoAgent), nil
	}
	src, err := s.source()
	if err != nil {
		return types.ErrorResponse(err), nil
	}
	if request.Publish != nil {
		return s.publish(src, request.Publish)
	}
	facts, err := src.Facts(context.Background(), request.Facts)
	if err == nil {
		err = s.opts.devices.Complete(context.Background(), facts)
	}
	if err == nil {
		err = claims.Complete(context.Background(), src, request.Facts, facts)
	}
	if err != nil {
		return types.ErrorResponse(err), nil
	}
	return &types.Response{Version: types.WireVersion, Facts: facts}, nil
}

// publish writes a status, and leaves the events and older records for afterwards.
func (s *server) publish(src source, request *types.PublishRequest) (*types.Response, func(context.Context)) {
	response := &types.Response{Version: types.WireVersion}
	var err error
	if request.Status != nil {
		// Less than the asker waits: it should hear the answer.
		ctx, cancel := context.WithTimeout(context.Background(), request.Timeout.TimeoutOr(publishTimeout)*9/10)
		defer cancel()
		if response.Published, err = src.PublishStatus(ctx, request.Pod, request.Status); err != nil {
			response = types.ErrorResponse(err)
		}
	}
	return response, func(ctx context.Context) {
		for _, event := range request.Events {
			_ = src.Event(ctx, request.Pod, event)
		}
		if err == nil && s.opts.stateDir != "" && s.opts.manifests == "" {
			s.publishRecords(ctx, src, request)
		}
	}
}

// publishRecords writes what the journal says: the claims of the sandbox that was attached, and the
// status of older ones.
func (s *server) publishRecords(ctx context.Context, src source, request *types.PublishRequest) {
	bootID, err := host.BootID()
	if err != nil {
		return
	}
	records := journal.New(s.opts.stateDir)
	if to, takes := src.(claimWriter); takes && request.Status != nil && request.Report != nil {
		(&claimBacklog{journal: records, to: to, bootID: bootID}).run(ctx, request.Report.ContainerID)
	}
	(&backlog{journal: records, source: src, except: request.Pod, bootID: bootID}).run(ctx)
}

// silence closes the runtime's pipe: its reader waits for that.
func silence() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	for _, fd := range []int{1, 2} {
		_ = unix.Dup3(int(null.Fd()), fd, 0) // arm64 has no dup2
	}
}
