package vhostuser

import (
	"encoding/json"
	"errors"
	"os/user"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plexus-cni/plexus/types"
)

var ignoreRaw = cmpopts.IgnoreFields(Config{}, "Raw")

// defaults gives the configuration that names a bridge and nothing else.
func defaults(change func(*Config)) *Config {
	c := &Config{
		CNIVersion: "1.1.0", Name: "fast", Bridge: "br0", OVSDB: "unix:/var/run/openvswitch/db.sock", Queues: 1,
		SocketDir: "/run/plexus-vhostuser", PodDir: "/run/vhostuser", StateDir: "/var/lib/cni/plexus-vhostuser", Timeout: 10 * time.Second,
	}
	change(c)
	return c
}

// userspaceConf is a configuration of the Userspace CNI plugin, with more keys in host.
func userspaceConf(host string) string {
	return `{"cniVersion": "1.1.0", "name": "fast", "type": "plexus-vhostuser", "kubeconfig": "/k", "logFile": "/l", "logLevel": "debug",
		"host": {"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "bridge"` + host + `},
		"container": {"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "interface", "vhost": {"mode": "server"}}}`
}

func TestParseConfig(t *testing.T) {
	theirs := UserspaceConfig{Engine: "ovs-dpdk", IfType: "vhostuser", NetType: "interface", Vhost: UserspaceVhost{Mode: "server"}}
	for name, tc := range map[string]struct {
		config string
		want   *Config
	}{
		"least": {
			`{"cniVersion": "1.1.0", "name": "fast", "type": "plexus-vhostuser", "bridge": "br0"}`,
			defaults(func(*Config) {}),
		},
		"all": {
			`{"cniVersion": "1.1.0", "name": "fast", "type": "plexus-vhostuser", "engine": "ovs-dpdk", "bridge": "br1", "vlan": 7,
			  "trunk": [{"minID": 30, "maxID": 32}, {"id": 5}, {"id": 31}], "mtu": 9000, "queues": 4, "uid": 1000, "gid": 107,
			  "ovsdb": "unix:/o.sock", "socketDir": "/s/", "podDir": "/p", "stateDir": "/st", "timeout": "3s", "ipam": {"type": "host-local"},
			  "runtimeConfig": {"CNIDeviceInfoFile": "/d/x", "mac": "02:00:00:00:00:01", "other": 1}, "capabilities": {"mac": true},
			  "deviceID": "0000:00:00.0", "example.com/note": 1, "dns": {}, "args": {}}`,
			defaults(func(c *Config) {
				c.Bridge, c.VLAN, c.Trunks, c.MTU, c.Queues, c.UID, c.GID = "br1", 7, []int{5, 30, 31, 32}, 9000, 4, 1000, 107
				c.OVSDB, c.SocketDir, c.PodDir, c.StateDir, c.Timeout = "unix:/o.sock", "/s", "/p", "/st", 3*time.Second
				c.IPAM, c.DeviceInfo, c.MAC = "host-local", "/d/x", "02:00:00:00:00:01"
			}),
		},
		"null is nothing": {
			`{"cniVersion": "1.1.0", "name": "fast", "bridge": "br0", "vlan": null, "host": null, "ipam": null}`,
			defaults(func(*Config) {}),
		},
		"GC": {
			`{"cniVersion": "1.1.0", "name": "fast", "bridge": "br0", "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "net0"}], "cni.dev/attachments": []}`,
			defaults(func(c *Config) { c.HasValid, c.Valid = true, []types.GCAttachment{{ContainerID: "c", IfName: "net0"}} }),
		},
		"GC of nothing, as libcni writes it": {
			`{"cniVersion": "1.1.0", "name": "fast", "bridge": "br0", "cni.dev/valid-attachments": null}`,
			defaults(func(c *Config) { c.HasValid, c.Valid = true, []types.GCAttachment{} }),
		},
		"the same by the second name": {
			`{"cniVersion": "1.1.0", "name": "fast", "bridge": "br0", "cni.dev/attachments": null}`,
			defaults(func(c *Config) { c.HasValid, c.Valid = true, []types.GCAttachment{} }),
		},
		"GC by the second name": {
			`{"cniVersion": "1.1.0", "name": "fast", "bridge": "br0", "cni.dev/attachments": []}`,
			defaults(func(c *Config) { c.HasValid, c.Valid = true, []types.GCAttachment{} }),
		},
		"of the Userspace CNI plugin": {
			userspaceConf(`, "vhost": {"mode": "client"}, "bridge": {"bridgeName": "br-4", "vlanId": 9}`),
			defaults(func(c *Config) {
				c.Bridge, c.VLAN, c.SocketDir, c.PodDir = "br-4", 9, "/var/lib/cni/usrspcni", "/var/lib/cni/usrspcni"
				c.Userspace = &Userspace{Container: theirs}
			}),
		},
		"of the Userspace CNI plugin, its defaults": {
			userspaceConf(`, "vhost": {"mode": "client", "socketfile": "s1"}`),
			defaults(func(c *Config) {
				c.SocketDir, c.PodDir = "/var/lib/cni/usrspcni", "/var/lib/cni/usrspcni"
				c.Userspace = &Userspace{SocketFile: "s1", Container: theirs}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConfig([]byte(tc.config))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, ignoreRaw); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConfigGroup(t *testing.T) {
	group, err := user.LookupGroupId("0")
	if err != nil {
		t.Skipf("this machine has no group of number 0: %v", err)
	}
	c, err := ParseConfig([]byte(userspaceConf(`, "vhost": {"mode": "client", "group": "` + group.Name + `"}`)))
	if err != nil || c.GID != 0 {
		t.Errorf("got %d, %v", c.GID, err)
	}
}

// faultyFields gives the fields that an error names, sorted.
func faultyFields(err error) []string {
	var names []string
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // this walks the tree itself
		case *types.FieldError:
			names = append(names, e.Field)
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	slices.Sort(names)
	return names
}

// All faults come at once, each with its field.
func TestParseConfigRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		config string
		want   []string
	}{
		"no object":      {`[]`, []string{"", "bridge"}},
		"null":           {`null`, []string{"", "bridge"}},
		"too large":      {`{"bridge": "b", "name": "` + strings.Repeat("x", maxConfig) + `"}`, []string{""}},
		"nothing":        {`{}`, []string{"bridge"}},
		"misspelt":       {`{"bridge": "b", "vlanid": 3, "MTU": 9000}`, []string{"MTU", "vlanid"}},
		"empty bridge":   {`{"bridge": ""}`, []string{"bridge", "bridge"}},
		"engine":         {`{"bridge": "b", "engine": "vpp"}`, []string{"engine"}},
		"unknown engine": {`{"bridge": "b", "engine": "x"}`, []string{"engine"}},
		"wrong types": {
			`{"bridge": 1, "vlan": "7", "trunk": {}, "mtu": 1.5, "queues": [], "uid": "u", "ovsdb": 1, "socketDir": {}, "timeout": 3, "ipam": "x", "runtimeConfig": []}`,
			[]string{"bridge", "bridge", "ipam", "mtu", "ovsdb", "queues", "runtimeConfig", "socketDir", "timeout", "trunk", "uid", "vlan"},
		},
		"out of bounds": {
			`{"bridge": "b", "vlan": 4095, "mtu": 67, "queues": 0, "uid": -1, "gid": 4294967296, "timeout": "2m"}`,
			[]string{"gid", "mtu", "queues", "timeout", "uid", "vlan"},
		},
		"paths": {
			`{"bridge": "a/b", "ovsdb": "tcp:127.0.0.1:6640", "socketDir": "x", "podDir": "/a/../b", "stateDir": "/", "ipam": {"type": "../x"},
			  "runtimeConfig": {"CNIDeviceInfoFile": "/d/../../etc/passwd", "mac": "01:00:00:00:00:01"}}`,
			[]string{"bridge", "ipam.type", "ovsdb", "podDir", "runtimeConfig.CNIDeviceInfoFile", "runtimeConfig.mac", "socketDir", "stateDir"},
		},
		"trunk": {
			`{"bridge": "b", "trunk": [{}, {"id": 1, "minID": 1}, {"minID": 5, "maxID": 4}, {"maxID": 4}, {"id": 4095}, {"id": -1}]}`,
			[]string{"trunk", "trunk", "trunk", "trunk", "trunk", "trunk"},
		},
		"ipam without a type": {`{"bridge": "b", "ipam": {"subnet": "10.0.0.0/8"}}`, []string{"ipam.type"}},
		"both forms": {
			`{"engine": "ovs-dpdk", "bridge": "b", "vlan": 1, "socketDir": "/s", "host": {"engine": "ovs-dpdk", "iftype": "vhostuser", "vhost": {"mode": "client"}}}`,
			[]string{"bridge", "engine", "socketDir", "vlan"},
		},
		"sharedDir without host": {`{"bridge": "b", "sharedDir": "/s"}`, []string{"sharedDir"}},
		"Userspace, faulty": {
			`{"host": {"engine": "vpp", "iftype": "memif", "netType": "interface", "vhost": {"mode": "server", "group": "no such group", "socketfile": "../x", "y": 1},
			  "bridge": {"bridgeName": 4, "vlanId": 4095}, "x": 1}, "container": {"iftype": "memif", "vhost": {"mode": "client"}}, "sharedDir": "rel"}`,
			[]string{
				"container.iftype", "container.vhost.mode", "host.bridge.bridgeName", "host.bridge.vlanId", "host.engine", "host.iftype", "host.netType",
				"host.vhost.group", "host.vhost.mode", "host.vhost.socketfile", "host.vhost.y", "host.x", "sharedDir",
			},
		},
		"Userspace, nothing": {`{"host": {}}`, []string{"host.engine", "host.iftype", "host.vhost.mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(tc.config))
			if c == nil {
				t.Fatal("gives no configuration, which DEL wants all the same")
			}
			want := slices.Clone(tc.want)
			slices.Sort(want)
			if diff := cmp.Diff(want, faultyFields(err)); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"name": "n", "bridge": "b", "trunk": [{"id": 1}, {"minID": 1, "maxID": 4094}], "ipam": {"type": "x"}}`))
	f.Add([]byte(userspaceConf(`, "vhost": {"mode": "client"}, "bridge": {"bridgeName": "br-4", "vlanId": 9}`)))
	f.Add([]byte(`{"host": [], "container": null, "runtimeConfig": {"mac": "x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			if len(faultyFields(err)) == 0 {
				t.Errorf("names no field: %v", err)
			}
			return
		}
		a := &Attachment{Network: c.Name, ContainerID: "c1", Interface: "net0"}
		// What is accepted makes a state that can be read back, whatever it says.
		encoded, err := json.Marshal(newState(c, a))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storeIn("").Parse(encoded); err != nil {
			t.Errorf("%v: %s", err, encoded)
		}
		if c.VLAN < 0 || c.VLAN > maxVLAN || len(c.Trunks) > maxVLAN+1 || c.Timeout <= 0 {
			t.Errorf("out of bounds: %+v", c)
		}
	})
}

func TestPlaceOf(t *testing.T) {
	const long = "0123456789abcdef0123456789abcdef"
	pod := types.Pod{Namespace: "n", Name: "p", UID: "u-1"}
	for name, tc := range map[string]struct {
		config    *Config
		a         Attachment
		dir, file string
		inPod     string
	}{
		"of a pod":                    {defaults(func(*Config) {}), Attachment{ContainerID: long, Interface: "net0", Pod: pod}, "/run/plexus-vhostuser/u-1/net0/vhost.sock", "config.json", "/run/vhostuser/net0/vhost.sock"},
		"of no pod":                   {defaults(func(*Config) {}), Attachment{ContainerID: "c1", Interface: "net0"}, "/run/plexus-vhostuser/c1/net0/vhost.sock", "config.json", "/run/vhostuser/net0/vhost.sock"},
		"as the Userspace CNI plugin": {defaults(func(c *Config) { c.Userspace, c.SocketDir, c.PodDir = &Userspace{}, "/s", "/p" }), Attachment{ContainerID: long, Interface: "net0", Pod: pod}, "/s/0123456789ab/0123456789ab-net0", "configData-0123456789ab-net0.json", "/p/0123456789ab/0123456789ab-net0"},
		"with a socket's name":        {defaults(func(c *Config) { c.Userspace, c.SocketDir, c.PodDir = &Userspace{SocketFile: "x"}, "/s", "/p" }), Attachment{ContainerID: "c", Interface: "net0"}, "/s/c/x", "configData-c-net0.json", "/p/c/x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := placeOf(tc.config, &tc.a)
			got := []string{p.HostSocket(), p.Config, podSocket(tc.config, p)}
			if diff := cmp.Diff([]string{tc.dir, tc.file, tc.inPod}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := p.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckPaths(t *testing.T) {
	a := &Attachment{ContainerID: "c", Interface: "net0"} // "/c/net0/vhost.sock" has 18 bytes
	for length, want := range map[int][]string{maxSocketPath: nil, maxSocketPath + 1: {"socketDir"}} {
		c := defaults(func(c *Config) { c.SocketDir = "/" + strings.Repeat("x", length-len("/c/net0/vhost.sock")-1) })
		if diff := cmp.Diff(want, faultyFields(checkPaths(c, a))); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", length, diff)
		}
	}
	c := defaults(func(c *Config) { c.PodDir = "/" + strings.Repeat("x", 100) })
	if diff := cmp.Diff([]string{"podDir"}, faultyFields(checkPaths(c, a))); diff != "" {
		t.Errorf("in the pod (-want +got):\n%s", diff)
	}
}

func TestPortName(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range []Attachment{
		{Network: "n", ContainerID: "c", Interface: "i"},
		{Network: "n", ContainerID: "ci", Interface: "i"},
		{Network: "nc", ContainerID: "i", Interface: "i"},
		{Network: "n", ContainerID: "c", Interface: "j"},
	} {
		name := a.PortName()
		if len(name) != 15 || seen[name] {
			t.Errorf("%q has %d bytes or is not the only one", name, len(name))
		}
		seen[name] = true
	}
}

func TestAttachmentOf(t *testing.T) {
	const known = "K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_UID="
	for args, wantCode := range map[string]uint{
		"": 0, known + "u": 0, known + "..": types.CodeInvalidEnv, known + "a/b": types.CodeInvalidEnv,
		known + strings.Repeat("u", 65): types.CodeInvalidEnv, "x": types.CodeInvalidEnv,
	} {
		a, err := attachmentOf("net", &Call{ContainerID: "c", Interface: "net0", Args: args})
		var coded *types.CodedError
		if wantCode == 0 && err != nil || wantCode != 0 && (!errors.As(err, &coded) || coded.Code != wantCode) {
			t.Errorf("%q: got %v, want code %d", args, err, wantCode)
		}
		if a == nil || !isFileName(placeOf(defaults(func(*Config) {}), a).Dirs[0]) {
			t.Errorf("%q: leads elsewhere: %+v", args, a)
		}
	}
}
