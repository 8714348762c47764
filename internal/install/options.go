package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/types"
)

// Defaults of the options.
const (
	DefaultFrom        = "/opt/plexus/bin" // in the image
	DefaultConfDir     = "/etc/cni/net.d"
	DefaultConfName    = "00-plexus.conflist"
	DefaultNetworkName = "plexus"
)

// Options are what to install, and where. Paths are as this process sees them; those with
// Host as the runtime does, where that differs.
type Options struct {
	From     string // folder of the executables to copy
	BinDir   string // folder of the CNI plugins
	ConfDir  string // folder of the runtime's configurations
	ConfName string // the file of ours in it

	HostBinDir     string // BinDir if empty
	HostConfDir    string // ConfDir if empty
	HostKubeconfig string // Kubeconfig if empty

	Master        string        // name of a file in ConfDir, or of a network; "" is the first that is another's
	ReadinessFile string        // a file that is there once the default network is ready; "" is none
	Timeout       time.Duration // for the default network to be there; 0 is for ever

	// MetricsAddress serves the probes and metrics of a follower; empty serves neither.
	MetricsAddress string
	// MetricsCert and MetricsKey are the files by which it serves them over TLS; empty for plain HTTP.
	MetricsCert, MetricsKey string

	NetworkName    string // of our configuration
	Kubeconfig     string
	Socket         string // of the agent; "" is never to ask one
	PodResources   string // the kubelet's socket; "" if there is none to ask
	CNIDir         string
	PluginLogLevel string
	PluginLogFile  string
	// Extra are further keys of our configuration; they win over what is generated.
	Extra map[string]json.RawMessage
}

// withDefaults gives the options with the paths of the host filled in.
func (o Options) withDefaults() Options {
	for _, p := range []struct{ host, here *string }{
		{&o.HostBinDir, &o.BinDir}, {&o.HostConfDir, &o.ConfDir}, {&o.HostKubeconfig, &o.Kubeconfig},
	} {
		if *p.host == "" {
			*p.host = *p.here
		}
	}
	return o
}

// check gives every fault of the options, each by its flag.
func (o *Options) check() error {
	faults := []error{checkConfName(o.ConfName), checkExtraKeys(o.Extra)}
	if err := confdir.CheckName(o.NetworkName); err != nil {
		faults = append(faults, fmt.Errorf("--network-name: %w", err))
	}
	for _, p := range []struct{ flag, path string }{
		{"bin-dir", o.BinDir}, {"conf-dir", o.ConfDir}, {"host-bin-dir", o.HostBinDir}, {"host-conf-dir", o.HostConfDir},
	} {
		if !filepath.IsAbs(p.path) {
			faults = append(faults, fmt.Errorf("--%s: must be an absolute path, got %q", p.flag, p.path))
		}
	}
	if filepath.Clean(o.BinDir) == filepath.Clean(o.ConfDir) {
		faults = append(faults, fmt.Errorf("--bin-dir and --conf-dir: must be two folders, got %q for both", o.BinDir))
	}
	switch {
	case strings.ContainsRune(o.Master, '/'):
		faults = append(faults, fmt.Errorf("--master: must be the name of a file in --conf-dir, or of a network, got the path %q", o.Master))
	case o.Master != "" && o.Master == o.ConfName:
		faults = append(faults, fmt.Errorf("--master: %s is the file of plexus itself (--conf-name)", o.Master))
	}
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("--timeout: must not be negative, got %v", o.Timeout))
	}
	return types.Join(faults...)
}

func checkConfName(name string) error {
	if filepath.Base(name) != name || filepath.Ext(name) != ".conflist" || strings.HasPrefix(name, ".") {
		return fmt.Errorf("--conf-name: must be the plain name of a .conflist file, got %q", name)
	}
	return nil
}

// ReadExtra reads the keys that --extra-config adds: a JSON object, or the path of a
// file that has one. The empty text has none.
func ReadExtra(text string) (map[string]json.RawMessage, error) {
	data := []byte(text)
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "{") {
		var err error
		if data, err = confdir.ReadSmall(text); err != nil {
			return nil, fmt.Errorf("--extra-config: %w (give a JSON object, or the path of a file that has one)", named(text, err))
		}
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("--extra-config: must be a JSON object of keys of plexus's configuration: %w", err)
	}
	return keys, nil
}

// checkExtraKeys refuses keys that this program itself decides on.
func checkExtraKeys(extra map[string]json.RawMessage) error {
	var faults []error
	for _, taken := range []struct{ key, instead string }{
		{"type", "it is always plexus"},
		{"name", "it is what --network-name says"},
		{"cniVersion", "the list has it"},
		{"cniVersions", "the list has it"},
		{"clusterNetwork", "it is what --master chooses"},
		{"delegates", "the default network is what --master chooses, and defaultNetworks names further ones"},
	} {
		for key := range extra {
			if strings.EqualFold(key, taken.key) {
				faults = append(faults, fmt.Errorf("--extra-config: %s: must not be set here: %s", key, taken.instead))
			}
		}
	}
	return types.Join(faults...)
}

// named gives an error that names the file, if it does not yet.
func named(path string, err error) error {
	if strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// errMisuse is the kind of an error that only other options can mend.
var errMisuse = errors.New("misuse")

// misuseError marks an error as errMisuse without adding to its message.
type misuseError struct{ error }

func (e misuseError) Unwrap() error        { return e.error }
func (e misuseError) Is(target error) bool { return target == errMisuse }
