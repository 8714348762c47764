package vhostuser

import (
	"os/user"
	"strconv"
	"strings"
)

// Defaults of a configuration of the Userspace CNI plugin.
const (
	userspaceBridge    = "br0"
	userspaceSharedDir = "/var/lib/cni/usrspcni"
)

// Userspace is what a configuration of the Userspace CNI plugin says besides.
type Userspace struct {
	SocketFile string          // its name, "" for one that is made up
	Container  UserspaceConfig // for the application
}

// UserspaceConfig is how that plugin describes an interface to the application.
type UserspaceConfig struct {
	Engine  string          `json:"engine,omitempty"`
	IfType  string          `json:"iftype,omitempty"`
	NetType string          `json:"netType,omitempty"`
	Memif   struct{}        `json:"memif"` // always empty: its readers expect the key
	Vhost   UserspaceVhost  `json:"vhost"`
	Bridge  UserspaceBridge `json:"bridge"`
}

// UserspaceVhost is the socket.
type UserspaceVhost struct {
	Mode       string `json:"mode,omitempty"`
	Group      string `json:"group,omitempty"`
	SocketFile string `json:"socketfile,omitempty"`
}

// UserspaceBridge is a bridge inside of the container.
type UserspaceBridge struct {
	Name   string `json:"bridgeName,omitempty"`
	ID     int    `json:"bridgeId,omitempty"`
	VLANID int    `json:"vlanId,omitempty"`
}

// readUserspace reads the keys of the Userspace CNI plugin.
func (c *Config) readUserspace(f *fields) {
	c.Userspace = &Userspace{}
	c.SocketDir = userspaceSharedDir
	if !f.has("podDir") {
		c.PodDir = userspaceSharedDir
	}
	f.folder("sharedDir", &c.SocketDir)
	// It reads the pod for the folder and writes annotations; we ask no API server.
	f.ignore("kubeconfig", "logFile", "logLevel")
	for _, key := range []string{"engine", "bridge", "vlan", "socketDir"} {
		if f.has(key) {
			f.fault(key, "stands beside host, which says the same: use one form of configuration")
		}
	}
	c.readHost(f.object("host"))
	c.readContainer(f.object("container"))
}

func (c *Config) readHost(host *fields) {
	if !host.has("engine") {
		host.fault("engine", "is missing")
	}
	host.choiceOfEngine("engine")
	if !host.has("iftype") {
		host.fault("iftype", "is missing")
	}
	host.choice("iftype", "vhostuser")
	host.choice("netType", "bridge", "")
	host.ignore("memif")
	vhost := host.object("vhost")
	c.readHostMode(vhost)
	c.readGroup(vhost)
	if vhost.text("socketfile", &c.Userspace.SocketFile) && c.Userspace.SocketFile != "" && !isFileName(c.Userspace.SocketFile) {
		vhost.fault("socketfile", "must be the plain name of a file")
	}
	vhost.refuseUnknown()
	bridge := host.object("bridge")
	if c.Bridge = userspaceBridge; bridge.has("bridgeName") {
		c.readBridge(bridge, "bridgeName")
	}
	bridge.ignore("bridgeId")
	bridge.number("vlanId", 0, maxVLAN, &c.VLAN)
	bridge.refuseUnknown()
	host.refuseUnknown()
}

// readHostMode demands that the switch is the client of the socket: a port of which it
// is the server is in its own folder, and Open vSwitch is doing away with that kind.
func (c *Config) readHostMode(vhost *fields) {
	var mode string
	if vhost.text("mode", &mode); mode != "client" {
		vhost.fault("mode", `must be "client", with the application as the server: ports of type dpdkvhostuser are deprecated by Open vSwitch and not made`)
	}
}

func (c *Config) readGroup(vhost *fields) {
	var name string
	if !vhost.text("group", &name) || name == "" {
		return
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		vhost.fault("group", "%q is not a group of this node", cut(name))
		return
	}
	if c.GID, err = strconv.Atoi(group.Gid); err != nil {
		vhost.fault("group", "%q has no number", cut(name))
	}
}

// readContainer reads what is handed on to the application.
func (c *Config) readContainer(container *fields) {
	into := &c.Userspace.Container
	container.text("engine", &into.Engine)
	container.text("iftype", &into.IfType)
	container.choice("iftype", "vhostuser", "")
	container.text("netType", &into.NetType)
	container.ignore("memif")
	vhost := container.object("vhost")
	vhost.text("mode", &into.Vhost.Mode)
	vhost.choice("mode", "server", "")
	vhost.text("group", &into.Vhost.Group)
	vhost.ignore("socketfile")
	vhost.refuseUnknown()
	bridge := container.object("bridge")
	bridge.text("bridgeName", &into.Bridge.Name)
	bridge.number("bridgeId", 0, maxID, &into.Bridge.ID)
	bridge.number("vlanId", 0, maxVLAN, &into.Bridge.VLANID)
	bridge.refuseUnknown()
	container.refuseUnknown()
}

// isFileName reports whether a name is one of a file that lies in the folder at hand.
func isFileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}
