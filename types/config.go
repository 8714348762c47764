package types

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Defaults of the configuration.
const (
	DefaultConfDir     = "/etc/cni/multus/net.d"
	DefaultCNIDir      = "/var/lib/cni/plexus"
	DefaultBinDir      = "/opt/cni/bin"
	DefaultAgentSocket = "/run/plexus/agent.sock"
	// The kubelet's socket for allocated devices, and the file where it notes them.
	DefaultPodResourcesSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"
	DefaultDeviceCheckpoint   = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"
	DefaultNamespace          = "kube-system" // of the networks that a configuration names
	DefaultGlobalNamespace    = "default"
	DefaultAddTimeout         = 90 * time.Second
	DefaultDelegateTimeout    = 60 * time.Second

	// maxAddTimeout leaves the undo (50 s) its time within the kubelet's 240 s.
	maxAddTimeout = 180 * time.Second
)

// CapabilityPodAnnotations is containerd's name for all the annotations of a pod,
// handed over in runtimeConfig to a plugin that declares it as a capability.
const CapabilityPodAnnotations = "io.kubernetes.cri.pod-annotations"

// What ADD answers to the runtime (key `result`).
const (
	ResultDefault = "default" // the default network's result alone
	ResultAll     = "all"     // those of all attachments, one after another
)

// Config is the CNI configuration of Plexus itself: the keys of a Multus
// configuration as they are, and our own. ParseConfig makes it and fills in the
// defaults; docs/configuration.md explains every key.
type Config struct {
	CNIVersion    string                     `json:"cniVersion,omitempty"`
	Name          string                     `json:"name,omitempty"` // the outer network
	Type          string                     `json:"type,omitempty"`
	Capabilities  map[string]bool            `json:"capabilities,omitempty"`
	RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig,omitempty"` // for the default network only
	PrevResult    json.RawMessage            `json:"prevResult,omitempty"`

	ClusterNetwork        string            `json:"clusterNetwork,omitempty"`
	DefaultNetworks       []string          `json:"defaultNetworks,omitempty"`
	Delegates             []json.RawMessage `json:"delegates,omitempty"`
	AuxiliaryCNIChainName string            `json:"auxiliaryCNIChainName,omitempty"`
	ConfDir               string            `json:"confDir"`
	CNIDir                string            `json:"cniDir"`
	BinDir                string            `json:"binDir"`

	Kubeconfig  string `json:"kubeconfig,omitempty"`
	AgentSocket string `json:"agentSocket"` // "" means never ask an agent
	Manifests   string `json:"manifests,omitempty"`
	// The kubelet's socket for the devices of pods; "" means that there is none to ask.
	PodResourcesSocket string `json:"podResourcesSocket"`
	// What to read where it does not answer; "" means nothing.
	DeviceCheckpoint string `json:"deviceCheckpoint"`

	ReadinessIndicatorFile string `json:"readinessindicatorfile,omitempty"`

	NamespaceIsolation       bool                `json:"namespaceIsolation,omitempty"`
	GlobalNamespaces         CommaList           `json:"globalNamespaces"`
	SystemNamespaces         []string            `json:"systemNamespaces"`
	MultusNamespace          string              `json:"multusNamespace"`
	DefaultNetworkNamespaces []string            `json:"defaultNetworkNamespaces"`
	AllowedPlugins           map[string][]string `json:"allowedPlugins,omitzero"` // namespace or "*" to plugin types; an empty map allows none

	RetryDeleteOnError  bool     `json:"retryDeleteOnError,omitempty"` // accepted: Plexus always does
	FirstInterfaceIndex int      `json:"firstInterfaceIndex"`
	Result              string   `json:"result"`
	AddTimeout          Duration `json:"addTimeout"`
	DelegateTimeout     Duration `json:"delegateTimeout"`
	// StartAhead names the plugins whose processes may be started before their turn; nil is
	// those that are known to wait for their configuration.
	StartAhead []string `json:"startAhead,omitzero"`

	LogFile     string     `json:"logFile,omitempty"`
	LogLevel    string     `json:"logLevel"`
	LogToStderr bool       `json:"logToStderr"`
	LogOptions  LogOptions `json:"logOptions"`

	// ValidAttachments are the attachments that a GC call lists as still in use; nil if the call has no
	// such key, which is not the same as an empty list.
	ValidAttachments []GCAttachment `json:"cni.dev/valid-attachments,omitzero"`
	// HasValidAttachments reports whether the call had the list.
	HasValidAttachments bool `json:"-"`
}

// GCAttachment names one attachment as a runtime sees it.
type GCAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// LogOptions are for the rotation of the log file: days, megabytes, files.
type LogOptions struct {
	MaxAge     int  `json:"maxAge"`
	MaxSize    int  `json:"maxSize"`
	MaxBackups int  `json:"maxBackups"`
	Compress   bool `json:"compress"`
}

// Duration is a time.Duration that is written as Go writes it: "90s".
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration as Go writes it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("must be a duration as %q or %q, got %q", "90s", "1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// CommaList is a list that a configuration writes as one string: "a,b".
type CommaList []string

// MarshalText joins the list with commas. An empty list is one comma: the empty
// string means the default.
func (l CommaList) MarshalText() ([]byte, error) {
	if len(l) == 0 {
		return []byte(","), nil
	}
	return []byte(strings.Join(l, ",")), nil
}

// UnmarshalText splits at commas and drops space and empty elements.
func (l *CommaList) UnmarshalText(text []byte) error {
	*l = nil
	for element := range strings.SplitSeq(string(text), ",") {
		if element = strings.TrimSpace(element); element != "" {
			*l = append(*l, element)
		}
	}
	return nil
}
