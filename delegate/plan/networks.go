package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/types"
)

// networkLoader finds the configuration of a network: inline in its definition, or
// in a file of the node.
type networkLoader struct {
	node    Node
	confDir string
	warn    func(format string, args ...any)
	lists   folderSearch
	singles folderSearch
	skipped []string // the files of confDir that cannot be read
}

// folderSearch is a search for configurations in a folder. Every file is read once,
// however many networks are looked for, and none before it is needed.
type folderSearch struct {
	begun  bool
	unread []string
	found  map[string]*confFile // by JSON name, the first file of it
}

// confFile is a file with a configuration.
type confFile struct {
	path string
	data []byte
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
	file, err := l.find(&l.lists, name, ".conflist")
	if err == nil && file == nil {
		file, err = l.find(&l.singles, name, ".conf", ".json")
	}
	if err != nil || file == nil {
		return nil, err
	}
	conf, err := types.ParseNetConf(file.data, "")
	if err == nil {
		conf.File = file.path
	}
	return conf, err
}

// find gives the configuration of a name among the files with these extensions.
func (l *networkLoader) find(s *folderSearch, name string, extensions ...string) (*confFile, error) {
	if !s.begun {
		files, err := l.filesIn(l.confDir, extensions...)
		if err != nil {
			return nil, fmt.Errorf("confDir: %w", err)
		}
		*s = folderSearch{begun: true, unread: files, found: map[string]*confFile{}}
	}
	for s.found[name] == nil && len(s.unread) > 0 {
		file := s.unread[0]
		s.unread = s.unread[1:]
		data, conf, err := l.readFile(file)
		if err != nil {
			l.warn("skip a network configuration: %v", err)
			l.skipped = append(l.skipped, file)
		} else if s.found[conf.Name] == nil {
			s.found[conf.Name] = &confFile{file, data}
		}
	}
	return s.found[name], nil
}

// broken names, for the error of a search in vain, the files that could not be read.
func (l *networkLoader) broken() string {
	if len(l.skipped) == 0 {
		return ""
	}
	return " (not counting files that cannot be read: " + strings.Join(l.skipped, ", ") + ")"
}

// fromPath gives the configuration in a file, or in the first file of a folder.
func (l *networkLoader) fromPath(path string) (*types.NetConf, error) {
	info, err := l.node.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return l.fromFile(path)
	}
	files, err := l.filesIn(path, ".conf", ".json", ".conflist")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no .conflist, .conf or .json file in %s", path)
	}
	return l.fromFile(files[0])
}

// filesIn gives the files of a folder that have one of the extensions, sorted by name. A
// folder that is not there has none.
func (l *networkLoader) filesIn(dir string, extensions ...string) ([]string, error) {
	entries, err := l.node.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains(extensions, filepath.Ext(entry.Name())) {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	slices.Sort(files)
	return files, nil
}

func (l *networkLoader) fromFile(path string) (*types.NetConf, error) {
	_, conf, err := l.readFile(path)
	if err == nil {
		conf.File = path
	}
	return conf, err
}

// readFile gives the configuration in a file, as bytes and parsed.
func (l *networkLoader) readFile(path string) ([]byte, *types.NetConf, error) {
	data, err := l.node.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if filepath.Ext(path) == ".conflist" {
		if data, err = l.addSubfolder(path, data); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	conf, err := types.ParseNetConf(data, "")
	if err == nil && conf.Name == "" {
		err = errors.New("name: is missing")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, conf, nil
}

// addSubfolder adds the plugins of the folder that has the list's name, as libcni does
// unless the list says loadOnlyInlinedPlugins.
func (l *networkLoader) addSubfolder(path string, data []byte) ([]byte, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil || list.LoadOnlyInlinedPlugins {
		return data, err
	}
	if filepath.Base(list.Name) != list.Name {
		return nil, fmt.Errorf("name %q cannot be the name of a folder", list.Name)
	}
	more, err := l.pluginsIn(filepath.Join(filepath.Dir(path), list.Name))
	if err != nil {
		return nil, fmt.Errorf("plugins of the folder %s beside it: %w", list.Name, err)
	}
	if len(more) == 0 {
		return data, nil
	}
	return types.AppendPlugins(data, more)
}

// pluginsIn gives the plugins' configurations in a folder, as
// libcni.NetworkPluginConfsFromFiles does on the machine that it runs on.
func (l *networkLoader) pluginsIn(dir string) ([][]byte, error) {
	files, err := l.filesIn(dir, ".conf")
	if err != nil {
		return nil, err
	}
	var plugins [][]byte
	for _, file := range files {
		data, err := l.node.ReadFile(file)
		if err == nil {
			_, err = libcni.NetworkPluginConfFromBytes(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		plugins = append(plugins, data)
	}
	return plugins, nil
}

// auxiliaryChain gives the chain of the plugins in the folder of its name beside the
// cluster network's file, nil if there are none.
func (l *networkLoader) auxiliaryChain(config *types.Config) (*types.NetConf, error) {
	if !strings.Contains(config.ClusterNetwork, "/") {
		return nil, errors.New("needs a clusterNetwork that is a path, whose folder it looks in")
	}
	folder := config.ClusterNetwork
	if info, err := l.node.Stat(folder); err != nil || !info.IsDir() {
		folder = filepath.Dir(folder)
	}
	folder = filepath.Join(folder, config.AuxiliaryCNIChainName)
	plugins, err := l.pluginsIn(folder)
	if err != nil {
		return nil, fmt.Errorf("plugins of the folder %s: %w", folder, err)
	}
	if len(plugins) == 0 {
		return nil, nil
	}
	list, err := types.AppendPlugins([]byte("{}"), plugins)
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
