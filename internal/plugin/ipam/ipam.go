// Package ipam runs the IPAM plugin of a network.
//
// It does so by libcni's invoke. The functions ipam.Exec* of the CNI plugins take the
// sandbox from the environment of this process, and cannot release another one.
package ipam

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// ErrMissing is the error for a plugin that is not on the node.
var ErrMissing = errors.New("is not in CNI_PATH")

var errNoAddress = errors.New("it gave no address")

// Plugin is the IPAM plugin of a network. A network without one has the name "", and
// then every verb succeeds and does nothing.
type Plugin struct {
	Name   string      // ipam.type
	Path   []string    // the folders of CNI_PATH
	Config []byte      // the network's
	Args   invoke.Args // whose addresses; GC and STATUS need none. Command and Path are set here
	Exec   invoke.Exec // nil for real processes
}

// Find reports whether the plugin is on the node.
func (p *Plugin) Find() error {
	if p.Name == "" {
		return nil
	}
	_, err := p.find()
	return err
}

// Add asks for addresses, and gives what the plugin answers.
func (p *Plugin) Add(ctx context.Context) (*current.Result, error) {
	if p.Name == "" {
		return &current.Result{CNIVersion: current.ImplementedSpecVersion}, nil
	}
	path, err := p.find()
	if err != nil {
		return nil, err
	}
	result, err := p.add(ctx, path)
	return result, p.wrap("ADD", err)
}

func (p *Plugin) add(ctx context.Context, path string) (*current.Result, error) {
	answer, err := invoke.ExecPluginWithResult(ctx, path, p.Config, p.args("ADD"), p.exec())
	if err != nil {
		return nil, err
	}
	result, err := current.NewResultFromResult(answer)
	if err != nil {
		return nil, err
	}
	if len(result.IPs) == 0 {
		return nil, errNoAddress
	}
	return result, nil
}

// Del frees the addresses.
func (p *Plugin) Del(ctx context.Context) error { return p.run(ctx, "DEL") }

// Check asks whether the addresses are as Add gave them.
func (p *Plugin) Check(ctx context.Context) error { return p.run(ctx, "CHECK") }

// GC hands on which attachments of the network are valid, as the configuration has it.
func (p *Plugin) GC(ctx context.Context) error { return p.run(ctx, "GC") }

// Status asks whether an Add could succeed.
func (p *Plugin) Status(ctx context.Context) error { return p.run(ctx, "STATUS") }

// run runs a verb that answers nothing.
func (p *Plugin) run(ctx context.Context, command string) error {
	if p.Name == "" {
		return nil
	}
	path, err := p.find()
	if err != nil {
		return err
	}
	return p.wrap(command, invoke.ExecPluginWithoutResult(ctx, path, p.Config, p.args(command), p.exec()))
}

func (p *Plugin) find() (string, error) {
	path, err := p.exec().FindInPath(p.Name, p.Path)
	if err != nil {
		return "", types.Errorf(types.CodeInvalidConfig, "ipam.type: IPAM plugin %s %w (%s)", p.Name, ErrMissing, joined(p.Path))
	}
	return path, nil
}

func (p *Plugin) exec() invoke.Exec {
	if p.Exec != nil {
		return p.Exec
	}
	return &invoke.DefaultExec{RawExec: &invoke.RawExec{}}
}

func (p *Plugin) args(command string) *invoke.Args {
	args := p.Args
	args.Command, args.Path = command, joined(p.Path)
	return &args
}

// wrap names the plugin and the command, and keeps the code that the plugin gave.
func (p *Plugin) wrap(command string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("IPAM plugin %s (%s): %w", p.Name, command, err)
	var answer *cnitypes.Error
	if errors.As(err, &answer) && answer.Code != 0 {
		return types.WithCode(answer.Code, wrapped)
	}
	return wrapped
}

func joined(path []string) string { return strings.Join(path, string(filepath.ListSeparator)) }
