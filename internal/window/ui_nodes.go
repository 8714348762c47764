package window

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/window/ui"
)

// askEvery is how often the API server is asked what doctor asks it: that is a dozen requests.
const askEvery = time.Minute

// lasting is a node that stays open from one reading to the next. One at which something failed is opened
// anew: its window pod may have ended.
type lasting struct {
	open func() (inspect.Node, error)
	mu   sync.Mutex
	node inspect.Node // nil until it is open
}

// do runs a function with the open node, and once more with one that was just opened.
func (l *lasting) do(ctx context.Context, run func(inspect.Node) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node != nil {
		err := run(l.node)
		if err == nil || ctx.Err() != nil {
			return err
		}
		_ = l.node.Close() // what it says is about what has failed already
		l.node = nil
	}
	node, err := l.open()
	if err != nil {
		return err
	}
	l.node = node
	return run(node)
}

// Snapshot reads the node.
func (l *lasting) Snapshot(ctx context.Context, request inspect.Request) (snapshot *inspect.Snapshot, err error) {
	err = l.do(ctx, func(node inspect.Node) error {
		snapshot, err = node.Snapshot(ctx, request)
		return err
	})
	return snapshot, err
}

// Answers asks the node's routing.
func (l *lasting) Answers(ctx context.Context, questions []inspect.Question) (answers []inspect.Answer, err error) {
	err = l.do(ctx, func(node inspect.Node) error {
		answers, err = node.Answers(ctx, questions)
		return err
	})
	return answers, err
}

// Close leaves it open, for the next one who reads it.
func (*lasting) Close() error { return nil }

func (l *lasting) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil {
		return nil
	}
	node := l.node
	l.node = nil
	return node.Close()
}

// way says how the node is read.
func (l *lasting) way() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return wayOf(l.node)
}

// shownNode is a node that the page shows.
type shownNode struct {
	*lasting
	name   string
	isHere bool
	saved  *inspect.Snapshot
	mu     sync.Mutex
	api    *inspect.API
	asked  time.Time
}

// shownNodes are the nodes that the page shows, and those that its paths led to.
type shownNodes struct {
	options *uiOptions
	ctx     context.Context // of the command: what is opened for one page stays for the next
	shown   []*shownNode
	mu      sync.Mutex
	others  map[string]*lasting
}

var _ ui.Source = (*shownNodes)(nil)

// Nodes gives the names of the nodes.
func (s *shownNodes) Nodes() (names []string) {
	for _, node := range s.shown {
		names = append(names, node.name)
	}
	return names
}

// Live says whether the nodes can be read again.
func (s *shownNodes) Live() bool { return len(s.options.froms) == 0 }

// Read reads a node, as get, inspect and doctor do.
func (s *shownNodes) Read(ctx context.Context, i int) (*ui.Reading, error) {
	node := s.shown[i]
	if node.saved != nil {
		return &ui.Reading{Snapshot: node.saved, Attached: inspect.NewAttachedList(node.saved, everything)}, nil
	}
	snapshot, err := node.Snapshot(ctx, inspect.Request{CNI: true})
	if err != nil {
		return nil, err
	}
	list := inspect.NewAttachedList(snapshot, everything)
	comparePublished(ctx, s.options.node.cluster, list, snapshot.Machine.Name())
	if snapshot.CNI != nil {
		s.askBeside(ctx, node, snapshot)
	}
	return &ui.Reading{Snapshot: snapshot, Attached: list, Way: node.way()}, nil
}

func everything(*inspect.Attached) bool { return true }

// askBeside asks who else knows of the node; the API server not each time.
func (s *shownNodes) askBeside(ctx context.Context, node *shownNode, snapshot *inspect.Snapshot) {
	node.mu.Lock()
	defer node.mu.Unlock()
	if time.Since(node.asked) < askEvery {
		if snapshot.API = node.api; node.isHere {
			addRuntime(ctx, snapshot, s.options.beside.endpoint)
		}
		return
	}
	s.options.beside.ask(ctx, snapshot, node.isHere)
	node.api, node.asked = snapshot.API, time.Now()
}

// Trace follows a packet as the command path does, over what was read of the nodes.
func (s *shownNodes) Trace(ctx context.Context, query ui.Query, readings []*ui.Reading) (*path.Document, error) {
	o := &pathOptions{node: s.options.node, froms: s.options.froms, fallback: s.options.node.cluster.Namespace, openNode: s.openOther}
	if err := o.parse(nil, []string{query.From, query.To}); err != nil {
		return nil, err
	}
	o.query.From, o.query.To, o.query.Interface = o.subject(o.query.From), o.subject(o.query.To), query.Interface
	v := &visited{}
	for i, reading := range readings {
		if reading != nil {
			v.nodes, v.snapshots = append(v.nodes, s.nodeOf(i)), append(v.snapshots, askable(reading.Snapshot))
		}
	}
	if err := o.reach(ctx, v); err != nil {
		return nil, err
	}
	return o.trace(ctx, v)
}

// askable gives a copy of a Snapshot, to which answers can be added.
func askable(s *inspect.Snapshot) *inspect.Snapshot {
	one := *s
	one.Answers = slices.Clone(s.Answers)
	return &one
}

func (s *shownNodes) nodeOf(i int) inspect.Node {
	if saved := s.shown[i].saved; saved != nil {
		return savedNode{saved}
	}
	return s.shown[i].lasting
}

// openOther opens a node that the page does not show, for a path that leads there.
func (s *shownNodes) openOther(_ context.Context, name string) (inspect.Node, error) {
	for _, node := range s.shown {
		if node.name == name && node.saved == nil {
			return node.lasting, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.others[name] == nil {
		s.others[name] = s.lastingOf(name)
	}
	return s.others[name], nil
}

// lastingOf gives a node of the cluster. Each time it is opened, the window pods are listed anew.
func (s *shownNodes) lastingOf(name string) *lasting {
	return &lasting{open: func() (inspect.Node, error) {
		clients, err := s.options.node.newClients()
		if err != nil {
			return nil, err
		}
		node, err := clients.windows.Open(s.ctx, name)
		if err != nil {
			return nil, err // and no Node that is nil
		}
		return node, nil
	}}
}

func (s *shownNodes) close() error {
	var all []error
	for _, node := range s.shown {
		if node.lasting != nil {
			all = append(all, node.end())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, node := range s.others {
		all = append(all, node.end())
	}
	return errors.Join(all...)
}
