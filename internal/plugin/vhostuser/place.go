package vhostuser

import (
	"crypto/sha256"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// maxSocketPath is what fits into a sockaddr_un, less its terminating byte.
const maxSocketPath = 107

// Attachment is one interface of one sandbox on one network, as CNI names it.
type Attachment struct {
	Network     string
	ContainerID string
	Interface   string
	NetNS       string
	Args        string // CNI_ARGS as they came, for IPAM
	Pod         types.Pod
}

// attachmentOf gives what a call is about. The pod is in CNI_ARGS, if a runtime of
// Kubernetes calls.
func attachmentOf(network string, call *Call) (*Attachment, error) {
	a := &Attachment{Network: network, ContainerID: call.ContainerID, Interface: call.Interface, NetNS: call.NetNS, Args: call.Args}
	parsed, err := types.ParseArgs(call.Args)
	if err != nil {
		return a, err
	}
	if pod := types.PodFromArgs(parsed); pod.Known() {
		a.Pod = pod
	}
	if uid := a.Pod.UID; uid != "" && (!isFileName(uid) || len(uid) > 64) {
		a.Pod.UID = ""
		return a, types.Errorf(types.CodeInvalidEnv, "CNI_ARGS: K8S_POD_UID: %q is not the UID of a pod", cut(uid))
	}
	return a, nil
}

// PortName gives the attachment's port a name that no other has, of the 15 bytes that
// OpenFlow shows. What it stands for is written beside the port.
func (a *Attachment) PortName() string {
	sum := sha256.Sum256([]byte(a.Network + "\x00" + a.ContainerID + "\x00" + a.Interface))
	return fmt.Sprintf("vhu%x", sum[:6])
}

func (a *Attachment) owner() Owner {
	o := Owner{Network: a.Network, ContainerID: a.ContainerID, Interface: a.Interface}
	if a.Pod.Known() {
		o.Pod = a.Pod.String()
	}
	return o
}

// shortID gives the beginning of the container's ID, as the Userspace CNI plugin and
// the tools of runtimes show it.
func (a *Attachment) shortID() string { return a.ContainerID[:min(12, len(a.ContainerID))] }

// Place is where an attachment's socket and configuration file are.
type Place struct {
	Base   string   `json:"base"` // a folder of the host, which is there or root makes
	Dirs   []string `json:"dirs"` // folders below it, each in the one before; the last is the attachment's
	Socket string   `json:"socket"`
	Config string   `json:"config"`
}

// placeOf gives the place of an attachment. In our own form a pod mounts the folder of
// its UID and finds the interface's folder in it, by a path that is known beforehand; in
// the other form it mounts the base, and names carry the container's ID.
func placeOf(c *Config, a *Attachment) *Place {
	if c.Userspace != nil {
		name := a.shortID() + "-" + a.Interface
		p := &Place{Base: c.SocketDir, Dirs: []string{a.shortID()}, Socket: c.Userspace.SocketFile, Config: "configData-" + name + ".json"}
		if p.Socket == "" {
			p.Socket = name
		}
		return p
	}
	owner := a.Pod.UID
	if owner == "" {
		owner = a.ContainerID
	}
	return &Place{Base: c.SocketDir, Dirs: []string{owner, a.Interface}, Socket: "vhost.sock", Config: "config.json"}
}

// Dir gives the attachment's folder on the host.
func (p *Place) Dir() string { return filepath.Join(append([]string{p.Base}, p.Dirs...)...) }

// HostSocket gives the socket's path on the host.
func (p *Place) HostSocket() string { return filepath.Join(p.Dir(), p.Socket) }

// podSocket gives the socket's path as the pod sees it.
func podSocket(c *Config, p *Place) string {
	return path.Join(c.PodDir, p.Dirs[len(p.Dirs)-1], p.Socket)
}

// check reports what of a place cannot be.
func (p *Place) check() error {
	if !isClean(p.Base) || len(p.Dirs) == 0 {
		return fmt.Errorf("%q is not a folder to keep sockets in", cut(p.Base))
	}
	for _, name := range append([]string{p.Socket, p.Config}, p.Dirs...) {
		if !isFileName(name) {
			return fmt.Errorf("%q is not the name of a file", cut(name))
		}
	}
	if p.Socket == p.Config {
		return &types.FieldError{Field: "host.vhost.socketfile", Problem: fmt.Sprintf("%q is the name of the configuration file", cut(p.Socket))}
	}
	return nil
}

// checkPaths refuses a place that cannot be, or that no socket can be bound to, on the
// host or in the pod.
func checkPaths(c *Config, a *Attachment) error {
	p := placeOf(c, a)
	field := "socketDir"
	if c.Userspace != nil {
		field = "sharedDir"
	}
	return types.Join(
		p.check(),
		checkSocketPath(field, p.HostSocket()),
		checkSocketPath("podDir", podSocket(c, p)),
	)
}

func checkSocketPath(field, path string) error {
	if len(path) <= maxSocketPath {
		return nil
	}
	return &types.FieldError{Field: field, Problem: fmt.Sprintf(
		"the socket's path would have %d bytes, the kernel takes at most %d: %s", len(path), maxSocketPath, strings.ToValidUTF8(path, "?"),
	)}
}
