package vhostuser

import (
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// Defaults of the configuration.
const (
	DefaultOVSDB     = "unix:/var/run/openvswitch/db.sock"
	DefaultSocketDir = "/run/plexus-vhostuser" // not in the agent's folder, which is root's alone
	DefaultPodDir    = "/run/vhostuser"
	DefaultStateDir  = "/var/lib/cni/plexus-vhostuser"
	DefaultTimeout   = 10 * time.Second

	maxTimeout = time.Minute
	maxConfig  = 1 << 20 // bytes
	maxVLAN    = 4094
	minMTU     = 68
	maxMTU     = 9702 // what Open vSwitch takes of a DPDK port
	maxQueues  = 1024
	maxID      = 1<<31 - 1
)

// Config is one network's configuration, of either form.
type Config struct {
	CNIVersion string
	Name       string

	OVSDB     string // the switch's address
	Bridge    string
	VLAN      int   // 0 for none
	Trunks    []int // sorted, each once
	MTU       int   // 0 for the switch's own
	Queues    int
	SocketDir string // on the host
	PodDir    string // where the pod sees it
	StateDir  string
	UID, GID  int // of the folder of the socket
	Timeout   time.Duration
	IPAM      string // the type of the plugin, "" for none

	// Userspace is what only a configuration of the Userspace CNI plugin says, nil for
	// one of our own form.
	Userspace *Userspace

	MAC        string // asked for by the pod
	DeviceInfo string // the file that describes the device, "" for none
	PrevResult json.RawMessage
	Valid      []types.GCAttachment
	HasValid   bool // an empty list is one

	Raw []byte // as it came
}

// standard are the keys of a CNI configuration that mean nothing here, and those that
// Plexus gives to every plugin.
var standard = []string{
	"cniVersions", "type", "capabilities", "args", "dns", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "deviceID", "pciBusID",
}

// ParseConfig reads a configuration. The error joins every fault, each with its field;
// what is right is there all the same, for DEL.
func ParseConfig(data []byte) (*Config, error) {
	var faults []error
	f := newFields(data, &faults)
	c := &Config{
		OVSDB: DefaultOVSDB, SocketDir: DefaultSocketDir, PodDir: DefaultPodDir, StateDir: DefaultStateDir, Timeout: DefaultTimeout,
		Queues: 1, Raw: data,
	}
	if len(data) > maxConfig {
		f.fault("", "has %d bytes, at most %d are taken", len(data), maxConfig)
	}
	c.readStandard(f)
	c.readCommon(f)
	if f.has("host") || f.has("container") {
		c.readUserspace(f)
	} else {
		c.readOwn(f)
	}
	f.refuseUnknown()
	return c, types.Join(faults...)
}

func (c *Config) readStandard(f *fields) {
	f.ignore(standard...)
	f.text("cniVersion", &c.CNIVersion)
	f.text("name", &c.Name)
	if f.has("prevResult") {
		c.PrevResult = f.raw["prevResult"]
	}
	const list = "an array of {containerID, ifname}"
	c.HasValid = read(f, "cni.dev/valid-attachments", list, &c.Valid) || read(f, "cni.dev/attachments", list, &c.Valid)
	if !c.HasValid && (f.isNull("cni.dev/valid-attachments") || f.isNull("cni.dev/attachments")) {
		c.HasValid, c.Valid = true, []types.GCAttachment{} // libcni writes an empty list so
	}
	f.ignore("cni.dev/attachments")
	ipam := f.object("ipam")
	if len(ipam.raw) > 0 && !ipam.text("type", &c.IPAM) {
		ipam.fault("type", "is missing")
	}
	if strings.ContainsRune(c.IPAM, filepath.Separator) {
		ipam.fault("type", "must be the plain name of a plugin")
	}
	asked := f.object("runtimeConfig")
	asked.text("CNIDeviceInfoFile", &c.DeviceInfo)
	if c.DeviceInfo != "" && !isClean(c.DeviceInfo) {
		asked.fault("CNIDeviceInfoFile", "must be an absolute path without .. and doubled slashes")
	}
	if asked.text("mac", &c.MAC) && c.MAC != "" {
		if mac, err := net.ParseMAC(c.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			asked.fault("mac", "must be the MAC address of one interface, as 02:00:00:00:00:01")
		}
	}
}

// readCommon reads the keys that both forms have.
func (c *Config) readCommon(f *fields) {
	if f.text("ovsdb", &c.OVSDB) {
		if path, unix := strings.CutPrefix(c.OVSDB, "unix:"); !unix || !isClean(path) || strings.ContainsAny(path, "?#%") {
			f.fault("ovsdb", "must be unix: and an absolute path, as %q", DefaultOVSDB)
		}
	}
	f.number("mtu", minMTU, maxMTU, &c.MTU)
	f.number("queues", 1, maxQueues, &c.Queues)
	f.number("uid", 0, maxID, &c.UID)
	f.number("gid", 0, maxID, &c.GID)
	f.folder("podDir", &c.PodDir)
	f.folder("stateDir", &c.StateDir)
	c.readTrunk(f)
	var timeout string
	if f.text("timeout", &timeout) {
		d, err := time.ParseDuration(timeout)
		if err != nil || d <= 0 || d > maxTimeout {
			f.fault("timeout", "must be a duration of at most %s, as %q", maxTimeout, DefaultTimeout)
			return
		}
		c.Timeout = d
	}
}

// folder reads the path of a folder.
func (f *fields) folder(key string, dst *string) {
	var path string
	if !f.text(key, &path) {
		return
	}
	if path = strings.TrimSuffix(path, "/"); !isClean(path) {
		f.fault(key, "must be an absolute path without .. and doubled slashes")
		return
	}
	*dst = path
}

func isClean(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && path != "/" && !strings.ContainsRune(path, 0)
}

// readTrunk reads the VLANs of a trunk, as ovs-cni writes them.
func (c *Config) readTrunk(f *fields) {
	type span struct{ ID, MinID, MaxID *int }
	var spans []span
	if !read(f, "trunk", `an array of {"id": N} and {"minID": N, "maxID": N}`, &spans) {
		return
	}
	for i, s := range spans {
		low, high := s.MinID, s.MaxID
		if s.ID != nil {
			low, high = s.ID, s.ID
		}
		if low == nil || high == nil || s.ID != nil && (s.MinID != nil || s.MaxID != nil) || *low < 0 || *high > maxVLAN || *low > *high {
			f.fault("trunk", `element %d must be {"id": N} or {"minID": N, "maxID": N} within 0 and %d`, i, maxVLAN)
			continue
		}
		for id := *low; id <= *high; id++ {
			c.Trunks = append(c.Trunks, id)
		}
	}
	slices.Sort(c.Trunks)
	c.Trunks = slices.Compact(c.Trunks)
}

// readOwn reads the keys of our own form.
func (c *Config) readOwn(f *fields) {
	f.choiceOfEngine("engine")
	c.readBridge(f, "bridge")
	if c.Bridge == "" {
		f.fault("bridge", "is missing: name the bridge of Open vSwitch that gets the port")
	}
	f.number("vlan", 0, maxVLAN, &c.VLAN)
	f.folder("socketDir", &c.SocketDir)
}

func (c *Config) readBridge(f *fields, key string) {
	if f.text(key, &c.Bridge) && (c.Bridge == "" || len(c.Bridge) > 255 || strings.ContainsAny(c.Bridge, "/\x00")) {
		f.fault(key, "must be the name of a bridge")
	}
}

// choiceOfEngine refuses every switch but Open vSwitch.
func (f *fields) choiceOfEngine(key string) {
	var engine string
	switch f.text(key, &engine); engine {
	case "", EngineOVS:
	case EngineVPP:
		f.fault(key, "%q is not driven by this release, only %q is", EngineVPP, EngineOVS)
	default:
		f.fault(key, "must be %q, is %q", EngineOVS, cut(engine))
	}
}
