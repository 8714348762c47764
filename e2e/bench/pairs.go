package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/plexus-cni/plexus/types"
)

// warmUp is how many pairs of each kind are run before those that count: they make bridges,
// fill caches and wait until the node may read its pods.
const warmUp = 2

const (
	// restStep is how long a server must do next to nothing to be at rest.
	restStep = agentPause / 2
	// restPatience is how long that is waited for: a server may have work of its own.
	restPatience = 5 * time.Second
)

// side is one of the two that are compared: networks that libcni attaches in this process, all
// of the pod's, or that of a meta-plugin alone.
type side struct {
	cni          *libcni.CNIConfig
	lists        []*libcni.NetworkConfigList
	pod          types.Pod
	capabilities object
	// pause is for an agent to publish what was attached: a DEL does not follow right upon
	// its ADD, and the API server is not on the node's cores.
	pause time.Duration
	// server is the process of the agent or daemon that it asks; 0 if there is none.
	server int
	// multus says that it is the side of a Multus, whose calls may fail in a burst.
	multus bool
}

func (l *lab) newSide() *side {
	return &side{cni: libcni.NewCNIConfigWithCacheDir([]string{l.bin, l.plugins, l.multusBin}, libcni.CacheDir, nil)}
}

// forMultus drops what it logs, which is every call, and lets its calls fail in a burst.
func (s *side) forMultus() {
	s.multus = true
	s.cni = libcni.NewCNIConfigWithCacheDir(s.cni.Path, libcni.CacheDir, &invoke.DefaultExec{RawExec: &invoke.RawExec{}})
}

// call is what one call took, or several at once.
type call struct {
	wall  time.Duration
	after time.Duration // how long something went on after the answer
	cpu   spent         // until the pause after it has ended
}

// times are of one sandbox.
type times struct{ add, del call }

// pair is one of each, run right after another.
type pair struct{ direct, meta times }

// sandbox is what a runtime calls for.
type sandbox struct {
	id, netns string
	pod       types.Pod
}

func (s *side) runtimeConf(sb sandbox, i int) *libcni.RuntimeConf {
	conf := &libcni.RuntimeConf{
		ContainerID: sb.id,
		NetNS:       sb.netns,
		IfName:      "eth0",
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", sb.pod.Namespace},
			{"K8S_POD_NAME", sb.pod.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", sb.id},
			{"K8S_POD_UID", sb.pod.UID},
		},
		CapabilityArgs: s.capabilities,
	}
	if i > 0 {
		conf.IfName = fmt.Sprintf("net%d", i-1)
	}
	return conf
}

func (s *side) attach(ctx context.Context, sb sandbox) error {
	for i, list := range s.lists {
		if _, err := s.cni.AddNetworkList(ctx, list, s.runtimeConf(sb, i)); err != nil {
			return fmt.Errorf("ADD of network %s: %w", list.Name, err)
		}
	}
	return nil
}

func (s *side) detach(ctx context.Context, sb sandbox) error {
	for i := len(s.lists) - 1; i >= 0; i-- {
		if err := s.cni.DelNetworkList(ctx, s.lists[i], s.runtimeConf(sb, i)); err != nil {
			return fmt.Errorf("DEL of network %s: %w", s.lists[i].Name, err)
		}
	}
	return nil
}

// run attaches a sandbox and detaches it, with nothing else running meanwhile.
func (s *side) run(ctx context.Context, id string) (t times, err error) {
	sb := sandbox{id, netns, s.pod}
	if t.add, err = s.measure(func() error { return s.attach(ctx, sb) }); err != nil {
		return t, err
	}
	t.del, err = s.measure(func() error { return s.detach(ctx, sb) })
	return t, err
}

// measure measures a call, or several at once, and what goes on after the answer. If the call
// fails, it is measured all the same.
func (s *side) measure(do func() error) (c call, err error) {
	m, err := newMeter(s.server)
	if err != nil {
		return c, err
	}
	began := time.Now()
	callErr := do()
	c.wall = time.Since(began)
	m.answered()
	c.after = settle()
	restErr := s.rest()
	c.cpu, err = m.read()
	return c, errors.Join(callErr, restErr, err)
}

// rest waits for the pause, and until the agent or daemon has done what it does after the answer:
// after a burst it publishes for longer.
func (s *side) rest() error {
	if s.server == 0 {
		time.Sleep(s.pause)
		return nil
	}
	time.Sleep(s.pause - restStep)
	for range restPatience / restStep {
		before, err := ofProcess(s.server)
		if err != nil {
			return err
		}
		time.Sleep(restStep)
		if now, err := ofProcess(s.server); err != nil || now-before < restStep/50 {
			return err
		}
	}
	return nil
}

// measurePairs runs all scenarios in turn, round by round, so that what disturbs the machine for a
// while disturbs them alike. The order within a pair alternates.
func (l *lab) measurePairs(ctx context.Context, scenarios []*scenario) error {
	for round := range l.pairs + warmUp {
		fmt.Fprintf(os.Stderr, "\rbench: round %d of %d ", round+1, l.pairs+warmUp)
		for i, sc := range scenarios {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			sc.favour()
			p, err := sc.run(ctx, fmt.Sprintf("bench-%d-%d", round, i), round%2 == 0)
			if err != nil {
				return fmt.Errorf("%s, %d networks: %w", sc.source, sc.count, err)
			}
			if round >= warmUp {
				sc.pairs = append(sc.pairs, p)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

func (sc *scenario) run(ctx context.Context, sandbox string, directFirst bool) (p pair, err error) {
	sides := []func() error{
		func() (err error) { p.direct, err = sc.direct.run(ctx, sandbox+"-d"); return err },
		func() (err error) { p.meta, err = sc.meta.run(ctx, sandbox+"-p"); return err },
	}
	if !directFirst {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, run := range sides {
		if err := run(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // all of it is our own
	}
	return data
}
