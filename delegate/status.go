package delegate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// statusGrace is how long the pipes of a plugin are waited for that has answered STATUS, or
// was killed.
const statusGrace = 500 * time.Millisecond

// Status reports whether an ADD could work, as far as the default network and this node's disk
// are concerned. It comes every few seconds, and a failure makes the node NotReady: it asks
// neither the agent, whose restart would take the node's services down, nor the API server.
func (e *Engine) Status(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	networks, err := e.localNetworks(ctx)
	if err := types.Join(e.checkReadiness(), e.checkDisk(), err); err != nil {
		return types.WithCode(types.CodeNotAvailable, err) // no plugin is asked: it cannot change the answer
	}
	return e.networkStatuses(ctx, networks)
}

// checkReadiness looks for the readiness file once.
func (e *Engine) checkReadiness() error {
	path := e.Config.ReadinessIndicatorFile
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("readinessindicatorfile: %s is not there: the default network is not ready on this node", path)
	}
	return nil
}

// checkDisk reports why no ADD could be noted: in the journal, which comes before the first
// plugin, or in libcni's cache, which comes after it.
func (e *Engine) checkDisk() error {
	journal := host.CheckWritable(StateDir(e.Config))
	if journal != nil {
		return fmt.Errorf("cniDir: %w", journal)
	}
	if err := host.CheckWritable(filepath.Join(e.Config.CNIDir, "results")); err != nil {
		return fmt.Errorf("cniDir: %w", err)
	}
	return nil
}

// localNetworks gives the networks of every pod that this node knows by itself, resolved as an
// ADD would, the default network first.
func (e *Engine) localNetworks(ctx context.Context) ([]types.Attachment, error) {
	request := &types.FactsRequest{
		Networks:        plan.ConfiguredRefs(e.Config),
		MultusNamespace: e.Config.MultusNamespace,
		Timeout:         types.Duration(statusTimeout),
	}
	facts, err := e.Source.Local(ctx, request)
	if err != nil {
		return nil, err
	}
	e.addRecorded(facts)
	planner := e.planner()
	planner.Warn = nil // every few seconds the same would be in the log
	return planner.EveryPod(ctx, facts)
}

// addRecorded adds to the facts what the record of another pod says of a default network that
// only the API server knows.
func (e *Engine) addRecorded(facts *types.Facts) {
	name := e.Config.ClusterNetwork
	ref, err := types.ParseRef(name, e.Config.MultusNamespace)
	if err != nil || strings.Contains(name, "/") {
		return
	}
	if _, err := facts.Network(ref); err == nil {
		return
	}
	conf := e.defaultOfRecords(name)
	if conf == nil {
		return
	}
	if data, err := conf.Bytes(); err == nil {
		facts.Networks = append(facts.Networks, types.Network{Ref: ref, Config: string(data)})
	}
}

// networkStatuses runs the STATUS of several networks side by side, within the time that is left.
func (e *Engine) networkStatuses(ctx context.Context, networks []types.Attachment) error {
	faults := make([]error, len(networks))
	var running sync.WaitGroup
	for i := range networks {
		running.Go(func() { faults[i] = e.networkStatus(ctx, &networks[i]) })
	}
	running.Wait()
	err := types.Join(faults...)
	if err == nil {
		return nil
	}
	code := types.CodeOf(err, types.CodeNotAvailable)
	for _, fault := range faults {
		if types.CodeOf(fault, 0) == types.CodeLimitedConnectivity {
			code = types.CodeLimitedConnectivity // the worst of all: it is about pods that are there
		}
	}
	return types.WithCode(code, err)
}

// networkStatus runs STATUS of a network's plugins, if its version knows the verb.
func (e *Engine) networkStatus(ctx context.Context, a *types.Attachment) error {
	list, err := listOf(a)
	if err != nil {
		return types.WithCode(types.CodeNotAvailable, err)
	}
	x := &executor{containerID: "status", timeout: statusTimeout, grace: statusGrace}
	err = libcni.NewCNIConfigWithCacheDir(e.Path, e.Config.CNIDir, x).GetStatusNetworkList(ctx, list)
	if err == nil {
		return nil
	}
	code := types.CodeNotAvailable
	var failure *PluginError
	if errors.As(err, &failure) {
		err = failure // libcni's account of it repeats itself
		if failure.Code != 0 {
			code = failure.Code
		}
	}
	kind := "network"
	if a.Default {
		kind = "default network"
	}
	return types.WithCode(code, fmt.Errorf("%s %s: %w", kind, a.Network, err))
}
