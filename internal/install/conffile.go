package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/plexus-cni/plexus/types"
)

// extensions are those of the files that a runtime reads. Nothing else in its folder
// counts: what Cilium has renamed to .cilium_bak, our own temporary files.
var extensions = []string{".conf", ".conflist", ".json"}

// errDangling is the kind of the error for a file that the runtime may see, and we do not.
var errDangling = errors.New("cannot be read")

// maxConfSize is more than any configuration needs: 1 MiB.
const maxConfSize = 1 << 20

// owner is the program that a configuration belongs to, by the types of its plugins.
type owner int

const (
	others owner = iota
	plexus
	multus
)

// String names the owner for the log.
func (o owner) String() string { return [...]string{"another's", "Plexus's", "Multus's"}[o] }

// confFile is a file of the runtime's configuration folder.
type confFile struct {
	name  string // of the file, without its folder
	owner owner
	conf  *types.NetConf // nil beside a fault
	fault error          // why no runtime, or not Plexus, could take it
	local string         // why it is no cluster's network; "" if it may be one
}

// readConfDir reads the files of a folder, in the order in which a runtime takes them.
// A folder that does not exist is empty.
func readConfDir(dir string) ([]confFile, error) {
	paths, err := libcni.ConfFiles(dir, extensions)
	if err != nil {
		return nil, fmt.Errorf("read the folder of configurations: %w", err)
	}
	slices.Sort(paths)
	files := make([]confFile, len(paths))
	for i, path := range paths {
		files[i] = readConfFile(path)
	}
	return files, nil
}

func readConfFile(path string) confFile {
	data, err := readSmall(path)
	if link := danglingLink(path); link != "" {
		err = fmt.Errorf("%w: it is %s", errDangling, link)
	}
	if err != nil {
		return confFile{name: filepath.Base(path), fault: err}
	}
	return parseConfFile(path, data)
}

// readSmall reads a regular file: a FIFO would keep us waiting for ever.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > maxConfSize:
		return nil, fmt.Errorf("has %d bytes, more than a configuration may have (%d)", info.Size(), maxConfSize)
	}
	return os.ReadFile(path)
}

// parseConfFile reads what is in the file at path, with the plugins of the folder that
// libcni would add to it.
func parseConfFile(path string, data []byte) confFile {
	file := confFile{name: filepath.Base(path), owner: ownerOf(data)}
	if filepath.Ext(path) == ".conflist" {
		data, file.fault = wholeList(filepath.Dir(path), data)
	} else {
		file.fault = checkSingle(data)
	}
	if file.fault == nil {
		file.owner = ownerOf(data)
		file.conf, file.fault = parseNetwork(data)
	}
	if file.conf != nil {
		file.local = localNetwork(data, file.conf)
	}
	return file
}

// ownerOf finds whose a configuration is, even if it is too broken to be used. What
// makes it ours is what the runtime would run, not the name of a file.
func ownerOf(data []byte) owner {
	type plugin struct {
		Type string `json:"type"`
	}
	var conf struct {
		plugin
		Plugins []plugin `json:"plugins"`
	}
	_ = json.Unmarshal(data, &conf) // what can be read of it counts
	for _, p := range append(conf.Plugins, conf.plugin) {
		switch p.Type {
		case "plexus":
			return plexus
		case "multus", "multus-shim":
			return multus
		}
	}
	return others
}

// wholeList gives a list with the plugins of the folder of its name, as libcni reads it.
func wholeList(dir string, data []byte) ([]byte, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	if err := checkName(list.Name); err != nil {
		return nil, err
	}
	var more [][]byte
	if !list.LoadOnlyInlinedPlugins {
		plugins, err := libcni.NetworkPluginConfsFromFiles(dir, list.Name)
		if err != nil {
			return nil, err
		}
		for _, plugin := range plugins {
			more = append(more, plugin.Bytes)
		}
	}
	switch {
	case len(list.Plugins)+len(more) == 0:
		return nil, errors.New("plugins: there are none: a single configuration belongs into a .conf file")
	case len(more) == 0:
		return data, nil
	}
	return types.AppendPlugins(data, more)
}

// checkSingle refuses what a runtime would not take from a file that is no .conflist.
func checkSingle(data []byte) error {
	single, err := libcni.NetworkPluginConfFromBytes(data)
	if err != nil {
		return fmt.Errorf("%w (a list belongs into a .conflist file)", err)
	}
	return checkName(single.Network.Name)
}

func checkName(name string) error {
	if err := utils.ValidateNetworkName(name); err != nil {
		return fmt.Errorf("name: %q is not the name of a network: %s", name, err.Msg)
	}
	return nil
}

// parseNetwork reads a configuration as plexus itself will read it.
func parseNetwork(data []byte) (*types.NetConf, error) {
	conf, err := types.ParseNetConf(data, "")
	if err != nil {
		return nil, err
	}
	return conf, nil
}

// executablesOf gives the executables that a network's plugins are and run, sorted.
func executablesOf(conf *types.NetConf) []string {
	var names []string
	for _, plugin := range conf.Plugins {
		names = append(names, plugin.Type)
		for _, e := range plugin.Executables {
			names = append(names, e.Type)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
