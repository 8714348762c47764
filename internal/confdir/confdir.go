// Package confdir reads the runtime's folder of CNI configurations as a runtime does: which files count, in
// which order, whose each is, and why one is broken.
package confdir

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

// Extensions are those of the files that a runtime reads. Nothing else in its folder
// counts: what Cilium has renamed to .cilium_bak, our own temporary files.
var Extensions = []string{".conf", ".conflist", ".json"}

// ErrDangling is the kind of the error for a file that the runtime may see, and we do not.
var ErrDangling = errors.New("cannot be read")

// maxSize is more than any configuration needs: 1 MiB.
const maxSize = 1 << 20

// Owner is the program that a configuration belongs to, by the types of its plugins.
type Owner int

// Owners of configurations.
const (
	Others Owner = iota // any other
	Plexus
	Multus
)

// String names the owner for the log.
func (o Owner) String() string { return [...]string{"another's", "Plexus's", "Multus's"}[o] }

// File is a file of the runtime's configuration folder.
type File struct {
	Name  string // of the file, without its folder
	Owner Owner
	Conf  *types.NetConf // nil beside a fault
	Data  []byte         // what the runtime reads, with the plugins of the list's folder; nil beside a fault
	Fault error          // why no runtime, or not Plexus, could take it
	Raw   []byte         // what would be Data, beside a fault that is not of the list's folder
	Local string         // why it is no cluster's network; "" if it may be one
}

// Read reads the files of a folder, in the order in which a runtime takes them.
// A folder that does not exist is empty.
func Read(dir string) ([]File, error) {
	paths, err := libcni.ConfFiles(dir, Extensions)
	if err != nil {
		return nil, fmt.Errorf("read the folder of configurations: %w", err)
	}
	slices.Sort(paths)
	files := make([]File, len(paths))
	for i, path := range paths {
		files[i] = ReadFile(path)
	}
	return files, nil
}

// ReadFile reads one file. Whether it is a list says its extension, as to a runtime.
func ReadFile(path string) File {
	data, err := ReadSmall(path)
	if link := DanglingLink(path); link != "" {
		err = fmt.Errorf("%w: it is %s", ErrDangling, link)
	}
	if err != nil {
		return File{Name: filepath.Base(path), Fault: err}
	}
	return Parse(path, data)
}

// ReadSmall reads a regular file: a FIFO would keep us waiting for ever.
func ReadSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > maxSize:
		return nil, fmt.Errorf("has %d bytes, more than a configuration may have (%d)", info.Size(), maxSize)
	}
	return os.ReadFile(path)
}

// Parse reads what is in the file at path, with the plugins of the folder that
// libcni would add to it.
func Parse(path string, data []byte) File {
	file := File{Name: filepath.Base(path), Owner: OwnerOf(data)}
	raw := data
	if filepath.Ext(path) == ".conflist" {
		data, file.Fault = wholeList(filepath.Dir(path), data)
		if file.Fault == nil {
			raw = data
		}
	} else {
		file.Fault = checkSingle(data)
	}
	if file.Fault == nil {
		file.Owner = OwnerOf(data)
		file.Conf, file.Fault = parseNetwork(data)
	}
	if file.Conf != nil {
		file.Data = data
		raw = nil
		file.Local = localNetwork(data, file.Conf)
	}
	if !errors.Is(file.Fault, errFolder) {
		file.Raw = raw
	}
	return file
}

// errFolder is the kind of the error for the folder of a list's plugins.
var errFolder = errors.New("the folder of the list's plugins")

// OwnerOf finds whose a configuration is, even if it is too broken to be used. What
// makes it ours is what the runtime would run, not the name of a file.
func OwnerOf(data []byte) Owner {
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
			return Plexus
		case "multus", "multus-shim":
			return Multus
		}
	}
	return Others
}

// wholeList gives a list with the plugins of the folder of its name, as libcni reads it.
func wholeList(dir string, data []byte) ([]byte, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	if err := CheckName(list.Name); err != nil {
		return nil, err
	}
	var more [][]byte
	if !list.LoadOnlyInlinedPlugins {
		plugins, err := libcni.NetworkPluginConfsFromFiles(dir, list.Name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFolder, err)
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
	return CheckName(single.Network.Name)
}

// CheckName refuses what is not the name of a network.
func CheckName(name string) error {
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

// Executables gives the executables that a network's plugins are and run, sorted.
func Executables(conf *types.NetConf) []string {
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
