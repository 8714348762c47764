//go:build linux

package collect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/agent/status"
	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// agentPatience is how long the agent may take to answer.
const agentPatience = 3 * time.Second

// readCNI reads what doctor asks about. The journal is read already: an address whose ADD ends meanwhile has a
// record that is not in it, and is new.
func (c *collector) readCNI() {
	options := &c.options
	cni := &inspect.CNI{ConfDir: options.ConfDir, Files: []inspect.ConfFile{}}
	c.snapshot.CNI = cni
	files, err := confdir.Read(c.onHost(options.ConfDir))
	if err != nil {
		c.note(options.ConfDir, err)
	}
	for i := range files {
		cni.Files = append(cni.Files, c.confFile(&files[i]))
	}
	c.readIgnored(files)
	cni.BinDir = types.DefaultBinDir
	var config *types.Config
	if ours := confdir.FindPlexus(files); ours != nil {
		cni.Plexus, config = c.readPlexus(ours)
	}
	if config != nil {
		cni.BinDir = config.BinDir
		c.askAgent(config.AgentSocket)
		c.readCredentials(config.Kubeconfig)
	}
	c.readExecutables()
	c.readStores(files)
	c.readVFs()
	if listing, err := journal.New(c.onHost(options.StateDir)).Scan(); err == nil {
		for _, key := range listing.GivenUp {
			cni.GivenUp = append(cni.GivenUp, key.ContainerID)
		}
	}
}

// onHost gives the path by which a file of the node is seen here.
func (c *collector) onHost(path string) string { return c.options.at(path) }

func (c *collector) confFile(file *confdir.File) inspect.ConfFile {
	described := inspect.ConfFile{Name: file.Name, Owner: ownerName(file.Owner), CNIVersion: file.Version()}
	if file.Fault != nil {
		described.Fault = file.Fault.Error()
	}
	if file.Conf != nil {
		described.Network = file.Conf.Name
		for _, plugin := range file.Conf.Plugins {
			described.Plugins = append(described.Plugins, plugin.Type)
		}
	}
	if info, err := os.Stat(filepath.Join(c.onHost(c.options.ConfDir), file.Name)); err == nil {
		described.Modified = info.ModTime().UTC().Truncate(time.Second)
	}
	data := file.Data
	if file.Fault != nil {
		data = file.Raw
	}
	if c.options.WithConfig && json.Valid(data) {
		described.Config = explain.Mask(data)
	}
	return described
}

func ownerName(owner confdir.Owner) string {
	switch owner {
	case confdir.Plexus:
		return "plexus"
	case confdir.Multus:
		return "multus"
	}
	return ""
}

// readIgnored adds the files that no runtime reads and that have a configuration: what somebody renamed.
func (c *collector) readIgnored(read []confdir.File) {
	dir := c.onHost(c.options.ConfDir)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		isRead := slices.ContainsFunc(read, func(f confdir.File) bool { return f.Name == entry.Name() })
		if isRead || !entry.Type().IsRegular() {
			continue
		}
		data, err := confdir.ReadSmall(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		if file := confdir.Parse(confdir.AsRead(filepath.Join(dir, entry.Name()), data), data); file.Fault == nil {
			file.Name = entry.Name()
			described := c.confFile(&file)
			described.Ignored = true
			c.snapshot.CNI.Files = append(c.snapshot.CNI.Files, described)
		}
	}
}

// readPlexus reads Plexus's own configuration, and the default network that it names.
func (c *collector) readPlexus(file *confdir.File) (*inspect.PlexusConf, *types.Config) {
	described := &inspect.PlexusConf{File: file.Name}
	if file.Fault != nil {
		described.Fault = file.Fault.Error()
		return described, nil
	}
	data, err := confdir.PlexusConf(file.Data)
	var config *types.Config
	if err == nil {
		config, _, err = types.ParseConfig(data)
	}
	if err != nil {
		described.Fault = err.Error()
		return described, nil
	}
	described.Name, described.ClusterNetwork, described.CNIDir = config.Name, config.ClusterNetwork, config.CNIDir
	if config.Manifests != "" { // they stand in for the cluster
		config.AgentSocket, config.Kubeconfig = "", ""
	}
	described.AgentSocket, described.Kubeconfig = config.AgentSocket, config.Kubeconfig
	if ready := config.ReadinessIndicatorFile; ready != "" {
		if _, err := os.Stat(c.onHost(ready)); errors.Is(err, fs.ErrNotExist) && c.options.Root == "" {
			described.NotReady = ready
		}
	}
	c.readDefault(described, config)
	return described, config
}

// readDefault reads the default network of a configuration, if it is a file or written there.
func (c *collector) readDefault(described *inspect.PlexusConf, config *types.Config) {
	var network *confdir.File
	switch {
	case filepath.IsAbs(config.ClusterNetwork):
		read := confdir.ReadFile(c.onHost(config.ClusterNetwork))
		network = &read
	case config.ClusterNetwork == "" && len(config.Delegates) > 0:
		read := confdir.Parse(confdir.AsRead("delegates", config.Delegates[0]), config.Delegates[0])
		network = &read
	default:
		return // of the cluster
	}
	described.DefaultOwner = ownerName(network.Owner)
	if network.Fault != nil {
		described.DefaultFault = network.Fault.Error()
		return
	}
	described.Default = confdir.Executables(network.Conf)
}

// askAgent asks the agent; a folder that is not mounted here is no agent that is down.
func (c *collector) askAgent(socket string) {
	if socket == "" {
		return
	}
	path := c.onHost(socket)
	if _, err := os.Stat(filepath.Dir(path)); c.options.Root != "" && err != nil {
		return
	}
	agent := &inspect.Agent{Socket: socket}
	c.snapshot.CNI.Agent = agent
	ctx, cancel := context.WithTimeout(context.Background(), agentPatience)
	defer cancel()
	state, err := status.Ask(ctx, path)
	if err != nil {
		agent.Error = err.Error()
		state = status.WithoutAgent(path, time.Now())
	}
	agent.Version, agent.Node, agent.Since, agent.NotReady = state.Version, state.Node, state.Since, state.NotReady
	for _, use := range state.Use {
		if use.Fault != "" {
			agent.Faults = append(agent.Faults, inspect.AgentFault{Reason: use.Reason, Fault: use.Fault})
		}
	}
	for _, failed := range state.Failures {
		agent.Failures = append(agent.Failures, failed.Time.UTC().Format(time.RFC3339)+" "+failed.Command+" "+cmp.Or(failed.Pod, failed.Sandbox)+": "+failed.Error)
	}
}
