package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

const answerTimeout = 30 * time.Second

// onceCall is what plexus asks of a plexus-once in one ADD.
type onceCall struct {
	path    string
	args    []string
	facts   *types.FactsRequest   // nil if it need not ask
	publish *types.PublishRequest // nil if there is no API to write to
}

// factsTimes are the parts of an ADD that plexus spends waiting for plexus-once.
type factsTimes struct {
	facts   time.Duration // from its start to its answer
	publish time.Duration // from the request to the answer
}

// newOnceCall makes the requests that plexus makes in an ADD of a case.
func (l *lab) newOnceCall(sc *scenario, dir, kubeconfig string) *onceCall {
	o := &onceCall{path: filepath.Join(l.bin, onceName), args: []string{"--manifests", dir}}
	asked := sc.meta.pod
	if sc.source != apiHanded {
		asked.Annotations = nil
	}
	if sc.source != apiHanded || sc.count > 0 {
		o.facts = &types.FactsRequest{Pod: asked, HasAnnotations: sc.source == apiHanded, MultusNamespace: "kube-system"}
	}
	if sc.source == manifests {
		return o
	}
	o.args = []string{"--kubeconfig", kubeconfig}
	o.publish = &types.PublishRequest{Pod: sc.meta.pod, Timeout: types.Duration(answerTimeout)}
	for i := range sc.count + 1 {
		o.publish.Status = append(o.publish.Status, types.NetworkStatus{
			Name: namespace + "/" + secondaryName(i), Interface: fmt.Sprintf("net%d", i),
			IPs: []string{"172.30.0.2"}, MAC: "02:00:00:00:00:01", MTU: 1500,
		})
	}
	return o
}

// measureFacts asks a plexus-once of its own what plexus asks in an ADD, after the pairs and
// apart from them.
func (l *lab) measureFacts(ctx context.Context, scenarios []*scenario) error {
	for round := range l.pairs + warmUp {
		for _, sc := range scenarios {
			if sc.once == nil {
				continue
			}
			t, err := sc.once.run(ctx)
			if err != nil {
				return fmt.Errorf("%s: %s, %d networks: %w", onceName, sc.source, sc.count, err)
			}
			if round >= warmUp {
				sc.facts = append(sc.facts, t)
			}
		}
	}
	return nil
}

func (o *onceCall) run(ctx context.Context) (t factsTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	began := time.Now()
	conn, cmd, err := o.start(ctx)
	if err != nil {
		return t, err
	}
	defer func() {
		err = errors.Join(err, conn.Close(), cmd.Wait())
	}()
	messages := rpc.NewConn(conn)
	if o.facts != nil {
		if _, err := rpc.Call(ctx, conn, messages, &types.Request{Facts: o.facts}); err != nil {
			return t, err
		}
		t.facts = time.Since(began)
	}
	if o.publish == nil {
		return t, nil
	}
	if o.facts == nil {
		time.Sleep(50 * time.Millisecond) // it starts while the plugins run
	}
	began = time.Now()
	answer, err := rpc.Call(ctx, conn, messages, &types.Request{Publish: o.publish})
	if err == nil && !answer.Published {
		err = errors.New("the status was not written")
	}
	t.publish = time.Since(began)
	return t, err
}

// start starts plexus-once as plexus does.
func (o *onceCall) start(ctx context.Context) (net.Conn, *exec.Cmd, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "bench"), os.NewFile(uintptr(fds[1]), onceName)
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, o.path, o.args...)
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, cmd, nil
}
