package window

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/sriov"
)

var defaultNetNSDirs = collect.DefaultNetNSDirs

// local is the node that this process runs on.
type local struct{ options collect.Options }

func (f *nodeFlags) openLocal() (inspect.Node, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("this machine can be read by root alone: run it on the node with sudo, name a node of the cluster with --node, or read a saved snapshot with --from")
	}
	return &local{collect.Options{StateDir: f.stateDir, NetNSDirs: f.netnsDirs, Sysfs: sriov.DefaultSysfs, ConfDir: f.confDir, CNIPath: filepath.SplitList(os.Getenv("CNI_PATH"))}}, nil
}

func (l *local) Snapshot(_ context.Context, request inspect.Request) (*inspect.Snapshot, error) {
	l.options.NetNS = request.NetNS // and of the answers to questions about it
	l.options.Brief, l.options.Only = request.Brief, request.Only
	l.options.CNI, l.options.WithConfig = request.CNI || request.WithConfig, request.WithConfig
	snapshot, err := collect.Node(l.options)
	if err != nil {
		return nil, fmt.Errorf("read the node: %w", err)
	}
	return snapshot, nil
}

func (l *local) Answers(_ context.Context, questions []inspect.Question) ([]inspect.Answer, error) {
	answers, err := collect.Answers(l.options, questions)
	if err != nil {
		return nil, fmt.Errorf("ask the node's routing: %w", err)
	}
	return answers, nil
}

// Watch gives what passes interfaces of this machine.
func (l *local) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) error {
	watching, err := collect.Watch(l.options, watch)
	if err == nil {
		err = watching.Run(ctx, saw)
	}
	if err != nil {
		return fmt.Errorf("watch packets: %w", err)
	}
	return nil
}

// Send sends packets of this machine's namespaces.
func (l *local) Send(_ context.Context, send inspect.Send) ([]inspect.Sent, error) {
	sent, err := collect.Send(l.options, send)
	if err != nil {
		return nil, fmt.Errorf("send packets: %w", err)
	}
	return sent, nil
}

// Changes says when something of the node may have changed.
func (l *local) Changes(ctx context.Context) (<-chan struct{}, error) {
	return collect.Changes(ctx, l.options)
}

func (*local) Close() error { return nil }

// Way says that this machine is read.
func (*local) Way() string {
	name, _ := os.Hostname()
	return "node " + name + ", which is this machine"
}

// openServed opens the node of a window pod, whose folders are below another root.
func openServed(root string, folders stream.Folders) (inspect.Node, error) {
	return &local{collect.Options{Root: root, StateDir: folders.State, NetNSDirs: folders.NetNS, Sysfs: sriov.DefaultSysfs, ConfDir: folders.ConfDir}}, nil
}
