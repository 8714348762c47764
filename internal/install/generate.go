package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/types"
)

// cniVersion is for runtimes whose libcni is older than the key cniVersions (1.2);
// newer ones take the highest of cniVersions that they know. The oldest version that
// Plexus knows is not offered.
const cniVersion = "1.0.0"

var cniVersions = types.CNIVersions[1:]

// field is a key of a JSON object that is written in a certain order.
type field struct {
	key   string
	value any
}

// fields is a JSON object with its keys in order: equal configurations have equal bytes.
type fields []field

// MarshalJSON writes the keys in their order.
func (f fields) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, field := range f {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(field.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(field.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.key, err)
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// set gives a key, however it is written, another value, or adds it at the end.
func (f fields) set(key string, value any) fields {
	for i := range f {
		if strings.EqualFold(f[i].key, key) {
			f[i].value = value
			return f
		}
	}
	return append(f, field{key, value})
}

// generate gives the content of our file around a default network. The error names the
// key, of --extra-config or of a flag, that plexus would not take.
func (i *Installer) generate(master *confdir.File) ([]byte, error) {
	plugin, err := i.plugin(master)
	if err != nil {
		return nil, err
	}
	if err := i.validate(plugin); err != nil {
		return nil, err
	}
	list := fields{{"cniVersion", cniVersion}, {"cniVersions", cniVersions}, {"name", i.NetworkName}, {"plugins", []fields{plugin}}}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("generate the configuration: %w", err)
	}
	return append(data, '\n'), nil
}

// plugin gives the configuration of plexus itself, the extra keys merged last.
func (i *Installer) plugin(master *confdir.File) (fields, error) {
	capabilities, err := i.capabilities(master.Conf)
	if err != nil {
		return nil, err
	}
	f := fields{
		{"type", "plexus"},
		{"capabilities", capabilities},
		{"clusterNetwork", filepath.Join(i.HostConfDir, master.Name)},
	}
	for _, optional := range []struct{ key, value string }{
		{"kubeconfig", i.HostKubeconfig},
		{"readinessindicatorfile", i.ReadinessFile},
		{"logLevel", i.PluginLogLevel},
		{"logFile", i.PluginLogFile},
	} {
		if optional.value != "" {
			f = append(f, field{optional.key, optional.value})
		}
	}
	if i.PodResources != types.DefaultPodResourcesSocket {
		f = append(f, field{"podResourcesSocket", i.PodResources})
	}
	f = append(f, field{"agentSocket", i.Socket}, field{"binDir", i.HostBinDir}, field{"cniDir", i.CNIDir})
	for _, key := range sortedKeys(i.Extra) {
		if !strings.EqualFold(key, "capabilities") {
			f = f.set(key, i.Extra[key])
		}
	}
	return f, nil
}

// capabilities is what the runtime is to pass: all that the default network's plugins
// declare, the pod's annotations, and those of the extra keys.
func (i *Installer) capabilities(conf *types.NetConf) (map[string]bool, error) {
	all := capabilitiesOf(conf)
	all[types.CapabilityPodAnnotations] = true
	for key, value := range i.Extra {
		if !strings.EqualFold(key, "capabilities") {
			continue
		}
		if err := json.Unmarshal(value, &all); err != nil {
			return nil, misuseError{fmt.Errorf("--extra-config: %s: must be an object of true and false: %w", key, err)}
		}
	}
	return all, nil
}

// validate reads the configuration as plexus will.
func (i *Installer) validate(plugin fields) error {
	data, err := json.Marshal(append(fields{{"name", i.NetworkName}, {"cniVersion", cniVersion}}, plugin...))
	if err != nil {
		return misuseError{fmt.Errorf("--extra-config: %w", err)}
	}
	_, unknown, err := types.ParseConfig(data)
	if err != nil {
		return misuseError{fmt.Errorf("what the flags make is no valid %w", err)}
	}
	if len(unknown) > 0 {
		return misuseError{fmt.Errorf("--extra-config: unknown to plexus: %s (docs/configuration.md has all keys)", strings.Join(unknown, ", "))}
	}
	return nil
}
