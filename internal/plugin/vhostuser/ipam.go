package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// errNoPlugin is of an IPAM plugin that is not on the node.
var errNoPlugin = errors.New("is not there")

// ipam is the address manager of one attachment. That of a network without one does
// nothing.
type ipam struct {
	exec   invoke.Exec // nil for real processes
	path   string      // CNI_PATH
	plugin string
	config []byte
	a      *Attachment
}

func (i *ipam) args(command string) *invoke.Args {
	return &invoke.Args{
		Command: command, ContainerID: i.a.ContainerID, NetNS: i.a.NetNS, IfName: i.a.Interface, PluginArgsStr: i.a.Args, Path: i.path,
	}
}

// find gives the plugin's path.
func (i *ipam) find() (string, error) {
	if i.exec == nil {
		i.exec = &invoke.DefaultExec{RawExec: &invoke.RawExec{}}
	}
	path, err := i.exec.FindInPath(i.plugin, filepath.SplitList(i.path))
	if err != nil {
		return "", fmt.Errorf("IPAM plugin %s: %w in CNI_PATH (%s)", i.plugin, errNoPlugin, i.path)
	}
	return path, nil
}

// ready tells whether the plugin is there at all.
func (i *ipam) ready() error {
	if i.plugin == "" {
		return nil
	}
	_, err := i.find()
	return err
}

// add asks for addresses. A gateway stays in: the application is the one to use it.
func (i *ipam) add(ctx context.Context) (*current.Result, error) {
	if i.plugin == "" {
		return &current.Result{}, nil
	}
	path, err := i.find()
	if err != nil {
		return nil, err
	}
	raw, err := invoke.ExecPluginWithResult(ctx, path, i.config, i.args("ADD"), i.exec)
	if err != nil {
		return nil, i.fail("ADD", err)
	}
	result, err := current.NewResultFromResult(raw)
	if err != nil {
		return nil, i.fail("ADD", err)
	}
	if len(result.IPs) == 0 {
		return nil, fmt.Errorf("IPAM plugin %s: gave no address", i.plugin)
	}
	return result, nil
}

// run runs any other verb.
func (i *ipam) run(ctx context.Context, command string) error {
	if i.plugin == "" {
		return nil
	}
	path, err := i.find()
	if err != nil {
		return err
	}
	return i.fail(command, invoke.ExecPluginWithoutResult(ctx, path, i.config, i.args(command), i.exec))
}

func (i *ipam) fail(command string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("IPAM plugin %s (%s): %w", i.plugin, command, err)
	var theirs *cnitypes.Error
	if errors.As(err, &theirs) && theirs.Code != 0 {
		return types.WithCode(theirs.Code, err)
	}
	return err
}
