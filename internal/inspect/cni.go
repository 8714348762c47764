package inspect

import (
	"encoding/json"
	"time"
)

// CNI is what a node has for CNI besides its network: files, executables, the agent, addresses and devices.
type CNI struct {
	ConfDir string     `json:"confDir"`
	Files   []ConfFile `json:"files"` // in the order in which a runtime takes them; then those that it does not read
	// Plexus is what the configuration says that is Plexus's; nil if no file has one.
	Plexus      *PlexusConf  `json:"plexus,omitempty"`
	BinDir      string       `json:"binDir"`
	CNIPath     []string     `json:"cniPath,omitempty"` // more folders of plugins
	Executables []Executable `json:"executables,omitempty"`
	Agent       *Agent       `json:"agent,omitempty"`       // nil if none is configured, or it cannot be asked from here
	Credentials *Credentials `json:"credentials,omitempty"` // of the kubeconfig; nil if none is configured
	Stores      []Store      `json:"stores,omitempty"`      // of host-local
	VFs         []NodeVF     `json:"vfs,omitempty"`
	// Unseen are files and folders that a window pod does not see: whether they are there is not known.
	Unseen  []string      `json:"unseen,omitempty"`
	GivenUp []string      `json:"givenUp,omitempty"` // containers whose records nothing could release
	Runtime *RuntimeState `json:"runtime,omitempty"` // nil if no container runtime was asked
}

// ConfFile is a file of the runtime's folder, without its configuration unless that was asked for.
type ConfFile struct {
	Name       string    `json:"name"`
	Owner      string    `json:"owner,omitempty"` // plexus or multus; empty for any other
	Network    string    `json:"network,omitempty"`
	Plugins    []string  `json:"plugins,omitempty"`
	CNIVersion string    `json:"cniVersion,omitempty"`
	Modified   time.Time `json:"modified,omitzero"`
	// Ignored is a file that no runtime reads, because of its extension, and that has a configuration.
	Ignored bool   `json:"ignored,omitempty"`
	Fault   string `json:"fault,omitempty"` // why it is broken
	// Config has the plugins of the list's folder too. A broken file has it as far as it is JSON.
	Config json.RawMessage `json:"config,omitempty"`
}

// PlexusConf is what a doctor needs of Plexus's own configuration.
type PlexusConf struct {
	File           string   `json:"file"`
	Name           string   `json:"name,omitempty"`
	Fault          string   `json:"fault,omitempty"`
	ClusterNetwork string   `json:"clusterNetwork,omitempty"` // the file of the default network
	Default        []string `json:"default,omitempty"`        // the plugins of the default network, and what they run
	DefaultFault   string   `json:"defaultFault,omitempty"`   // why the default network cannot be read
	DefaultOwner   string   `json:"defaultOwner,omitempty"`   // of the default network: plexus would be its own delegate
	CNIDir         string   `json:"cniDir,omitempty"`
	AgentSocket    string   `json:"agentSocket,omitempty"`
	Kubeconfig     string   `json:"kubeconfig,omitempty"`
	// NotReady is the readiness file that is not there.
	NotReady string `json:"notReady,omitempty"`
}

// Executable is a file of the folder of plugins. It is not run.
type Executable struct {
	Name     string    `json:"name"`
	Mode     string    `json:"mode"` // as ls shows it
	Modified time.Time `json:"modified"`
	Version  string    `json:"version,omitempty"` // that is built into it
	CNI      string    `json:"cni,omitempty"`     // the version of the CNI library that is built into it
	Dir      string    `json:"dir,omitempty"`     // its folder, if it is not binDir
	Self     bool      `json:"self,omitempty"`    // it is Plexus itself, under whatever name
	Fault    string    `json:"fault,omitempty"`   // why it cannot be run
}

// The faults of executables.
const (
	FaultDangling      = "it is a link to nothing"
	FaultNotExecutable = "it is not executable"
	FaultEmpty         = "it is empty"
)

// Agent is the agent of the node, as it answers on its socket.
type Agent struct {
	Socket   string       `json:"socket"`
	Error    string       `json:"error,omitempty"` // why it does not answer
	Version  string       `json:"version,omitempty"`
	Node     string       `json:"node,omitempty"`
	Since    time.Time    `json:"since,omitzero"`
	NotReady string       `json:"notReady,omitempty"`
	Faults   []AgentFault `json:"faults,omitempty"`
	Failures []string     `json:"failures,omitempty"` // the last calls that failed
}

// AgentFault is a reason for which the node does not use Plexus as it should.
type AgentFault struct {
	Reason string `json:"reason"`
	Fault  string `json:"fault"`
}

// Credentials are those of a kubeconfig, without any secret of them.
type Credentials struct {
	File     string    `json:"file"`
	Modified time.Time `json:"modified,omitzero"`
	Kind     string    `json:"kind,omitempty"` // "token", "token file", "client certificate"
	Expires  time.Time `json:"expires,omitzero"`
	Fault    string    `json:"fault,omitempty"`
}

// Store is the folder in which host-local keeps the addresses of one network.
type Store struct {
	Dir          string        `json:"dir"`
	Network      string        `json:"network"`
	Ranges       []Range       `json:"ranges,omitempty"` // as far as a configuration is known that has them
	Reservations []Reservation `json:"reservations,omitempty"`
}

// Range is a range of addresses.
type Range struct {
	Subnet string `json:"subnet"`
	Start  string `json:"start"`
	End    string `json:"end"`
	Size   int    `json:"size"` // how many it can give; 0 is more than anybody needs
	Taken  int    `json:"taken"`
}

// Reservation is an address that host-local has given.
type Reservation struct {
	Address     string    `json:"address"`
	ContainerID string    `json:"containerID"`
	Interface   string    `json:"interface,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	// Cached is set if the runtime's cache has an attachment of the container whose namespace may be there.
	Cached bool `json:"cached,omitempty"`
}

// NodeVF is a virtual function of the node.
type NodeVF struct {
	ID     string `json:"id"`
	PF     string `json:"pf,omitempty"`
	Index  *int   `json:"index,omitempty"`
	Driver string `json:"driver,omitempty"`
	Netdev string `json:"netdev,omitempty"` // in the node's own namespace
	// User is set if a program drives it, as DPDK does: no namespace has its interface.
	User bool `json:"user,omitempty"`
}

// RuntimeState is what the node's container runtime said.
type RuntimeState struct {
	Endpoint  string   `json:"endpoint"`
	Name      string   `json:"name,omitempty"`
	Error     string   `json:"error,omitempty"`
	NotReady  string   `json:"notReady,omitempty"` // why its network is not
	Sandboxes []string `json:"sandboxes,omitempty"`
}

// API is what the API server said to whoever made the Snapshot; every Error is why it said nothing.
type API struct {
	Error   string    `json:"error,omitempty"`
	Version string    `json:"version,omitempty"`
	CRD     string    `json:"crd,omitempty"` // "served", "missing", or why that is not known
	Rights  []Right   `json:"rights,omitempty"`
	Agent   *AgentPod `json:"agent,omitempty"`
	// AgentError is why the agent's pod of the node is not known.
	AgentError string `json:"agentError,omitempty"`
}

// Right is something that whoever asks may do, or not, and what it is needed for.
type Right struct {
	Verb      string `json:"verb"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	For       string `json:"for"`
	Allowed   bool   `json:"allowed"`
	Error     string `json:"error,omitempty"`
}

// AgentPod is the agent's pod of the node.
type AgentPod struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	Ready    bool   `json:"ready"`
	Restarts int    `json:"restarts,omitempty"`
	Reason   string `json:"reason,omitempty"` // why it is not ready
}
