package delegate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/types"
)

// networkLoader finds the configuration of a network: inline in its definition, or
// in a file of the node.
type networkLoader struct {
	confDir string
	warn    func(format string, args ...any)
	skipped []string // the files of the last search that cannot be read
}

// fromDefinition gives the configuration of a NetworkAttachmentDefinition, by the
// rules of section 3.4.1: its spec.config, else a list, else a single configuration
// of its name in confDir.
func (l *networkLoader) fromDefinition(network *types.Network) (*types.NetConf, error) {
	if strings.TrimSpace(network.Config) != "" {
		conf, err := types.ParseNetConf([]byte(network.Config), network.Name)
		if err != nil {
			return nil, fmt.Errorf("spec.config: %w", err)
		}
		return conf, nil
	}
	conf, err := l.byName(network.Name)
	if err == nil && conf == nil {
		err = fmt.Errorf("it has no spec.config, and no file in %s has the JSON name %q%s", l.confDir, network.Name, l.broken())
	}
	return conf, err
}

// byName gives the configuration in confDir whose JSON name is name, nil if there is
// none. Lists come before single configurations; a file that cannot be read is
// skipped, since it is another network's trouble.
func (l *networkLoader) byName(name string) (*types.NetConf, error) {
	l.skipped = nil
	for _, extensions := range [][]string{{".conflist"}, {".conf", ".json"}} {
		files, err := libcni.ConfFiles(l.confDir, extensions)
		if err != nil {
			return nil, fmt.Errorf("confDir: %w", err)
		}
		slices.Sort(files)
		for _, file := range files {
			conf, err := fromFile(file)
			if err != nil {
				l.warn("skip a network configuration: %v", err)
				l.skipped = append(l.skipped, file)
				continue
			}
			if conf.Name == name {
				return conf, nil
			}
		}
	}
	return nil, nil
}

// broken says, for the error of a search in vain, which files may have been meant.
func (l *networkLoader) broken() string {
	if len(l.skipped) == 0 {
		return ""
	}
	return " (not counting files that cannot be read: " + strings.Join(l.skipped, ", ") + ")"
}

// fromPath gives the configuration in a file, or in the first file of a folder.
func fromPath(path string) (*types.NetConf, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return fromFile(path)
	}
	files, err := libcni.ConfFiles(path, []string{".conf", ".json", ".conflist"})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no .conflist, .conf or .json file in %s", path)
	}
	return fromFile(slices.Min(files))
}

func fromFile(path string) (*types.NetConf, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) == ".conflist" {
		if data, err = withSubfolder(path, data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	conf, err := types.ParseNetConf(data, "")
	if err == nil && conf.Name == "" {
		err = errors.New("name: is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conf, nil
}

// withSubfolder adds the plugins of the folder that has the list's name, as libcni
// does unless the list says loadOnlyInlinedPlugins.
func withSubfolder(path string, data []byte) ([]byte, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil || list.LoadOnlyInlinedPlugins {
		return data, err
	}
	if filepath.Base(list.Name) != list.Name {
		return nil, fmt.Errorf("name %q cannot be the name of a folder", list.Name)
	}
	more, err := libcni.NetworkPluginConfsFromFiles(filepath.Dir(path), list.Name)
	if err != nil {
		return nil, fmt.Errorf("plugins of the folder %s beside it: %w", list.Name, err)
	}
	if len(more) == 0 {
		return data, nil
	}
	return types.AppendPlugins(data, pluginBytes(more))
}

func pluginBytes(plugins []*libcni.PluginConfig) [][]byte {
	all := make([][]byte, len(plugins))
	for i, plugin := range plugins {
		all[i] = plugin.Bytes
	}
	return all
}

// auxiliaryChain gives the chain of the plugins in the folder of its name beside the
// cluster network's file, nil if there are none.
func auxiliaryChain(config *types.Config) (*types.NetConf, error) {
	if !strings.Contains(config.ClusterNetwork, "/") {
		return nil, errors.New("needs a clusterNetwork that is a path, whose folder it looks in")
	}
	folder := config.ClusterNetwork
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		folder = filepath.Dir(folder)
	}
	plugins, err := libcni.NetworkPluginConfsFromFiles(folder, config.AuxiliaryCNIChainName)
	if err != nil {
		return nil, fmt.Errorf("plugins of the folder %s: %w", filepath.Join(folder, config.AuxiliaryCNIChainName), err)
	}
	if len(plugins) == 0 {
		return nil, nil
	}
	list, err := types.AppendPlugins([]byte("{}"), pluginBytes(plugins))
	if err != nil {
		return nil, err
	}
	conf, err := types.ParseNetConf(list, config.AuxiliaryCNIChainName)
	if err != nil {
		return nil, err
	}
	// Its plugins are made to be chained: the first one expects a result of one before it.
	return conf, conf.SetPrevResult(types.EmptyResult{CNIVersion: config.CNIVersion})
}
