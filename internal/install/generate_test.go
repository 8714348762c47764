package install

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// generated gives what is made around bridgeList under the options.
func generated(t *testing.T, options Options) (string, error) {
	t.Helper()
	i, err := New(options, (&logBuffer{}).logger())
	if err != nil {
		return "", err
	}
	master := confdir.Parse("/here/10-cbr0.conflist", []byte(bridgeList))
	check.Must(t, master.Fault)
	content, err := i.generate(&master)
	return string(content), err
}

// hostOptions are those of a container whose mounts have other paths than the host.
func hostOptions() Options {
	return Options{
		From: "/opt/plexus/bin", BinDir: "/host/bin", ConfDir: "/host/net.d", ConfName: DefaultConfName,
		HostBinDir: "/opt/cni/bin", HostConfDir: "/etc/cni/net.d", HostKubeconfig: "/etc/kubernetes/kubelet.conf",
		NetworkName: "plexus", Kubeconfig: "/host/kubelet.conf", Socket: "/run/plexus/agent.sock", CNIDir: "/var/lib/cni/plexus",
		PodResources:  "/data/kubelet/pod-resources/kubelet.sock",
		ReadinessFile: "/run/flannel/subnet.env", PluginLogLevel: "debug", PluginLogFile: "/var/log/plexus.log",
		Extra: map[string]json.RawMessage{
			"systemNamespaces": json.RawMessage(`[]`), "namespaceIsolation": json.RawMessage(`true`), "addTimeout": json.RawMessage(`"2m"`),
			"CNIDir": json.RawMessage(`"/var/lib/cni/multus"`), "capabilities": json.RawMessage(`{"mac": true, "portMappings": false}`),
		},
	}
}

const wantGenerated = `{
  "cniVersion": "1.0.0",
  "cniVersions": [
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0"
  ],
  "name": "plexus",
  "plugins": [
    {
      "type": "plexus",
      "capabilities": {
        "io.kubernetes.cri.pod-annotations": true,
        "mac": true,
        "portMappings": false
      },
      "clusterNetwork": "/etc/cni/net.d/10-cbr0.conflist",
      "kubeconfig": "/etc/kubernetes/kubelet.conf",
      "readinessindicatorfile": "/run/flannel/subnet.env",
      "logLevel": "debug",
      "logFile": "/var/log/plexus.log",
      "podResourcesSocket": "/data/kubelet/pod-resources/kubelet.sock",
      "agentSocket": "/run/plexus/agent.sock",
      "binDir": "/opt/cni/bin",
      "cniDir": "/var/lib/cni/multus",
      "addTimeout": "2m",
      "namespaceIsolation": true,
      "systemNamespaces": []
    }
  ]
}
`

func TestGenerate(t *testing.T) {
	for range 20 { // maps have another order each time
		got, err := generated(t, hostOptions())
		check.Must(t, err)
		check.Equal(t, "configuration", got, wantGenerated)
	}
}

// TestGenerateAsItIsRead: by libcni, and by plexus from what libcni makes of it.
func TestGenerateAsItIsRead(t *testing.T) {
	options := newTestNode(t).options
	content, err := generated(t, options)
	check.Must(t, err)
	list, err := libcni.ConfListFromBytes([]byte(content))
	check.Must(t, err)
	check.Equal(t, "name", list.Name, "plexus")
	check.Equal(t, "version of a libcni that knows cniVersions", list.CNIVersion, "1.1.0")
	check.Equal(t, "number of plugins", len(list.Plugins), 1)
	check.Equal(t, "capabilities", list.Plugins[0].Network.Capabilities, map[string]bool{"portMappings": true, types.CapabilityPodAnnotations: true})
	config, unknown, err := types.ParseConfig(list.Plugins[0].Bytes)
	check.Must(t, err)
	check.Equal(t, "unknown keys", unknown, nil)
	check.Equal(t, "default network", config.ClusterNetwork, options.ConfDir+"/10-cbr0.conflist")
	check.Equal(t, "binDir", config.BinDir, options.BinDir)
	check.Equal(t, "cniDir", config.CNIDir, options.CNIDir)
	check.Equal(t, "agentSocket", config.AgentSocket, options.Socket)
	check.Equal(t, "kubeconfig", config.Kubeconfig, "")
}

func TestGenerateWithoutAgent(t *testing.T) {
	options := newTestNode(t).options
	options.Socket, options.PodResources = "", "" // nor a kubelet
	content, err := generated(t, options)
	check.Must(t, err)
	check.Contains(t, "configuration", content, `"agentSocket": ""`, `"podResourcesSocket": ""`)
}

func TestOptionsRefused(t *testing.T) {
	extra := func(text string) func(*Options) {
		return func(o *Options) {
			keys, err := ReadExtra(text)
			check.Must(t, err)
			o.Extra = keys
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*Options)
		words  []string
	}{
		{"a relative folder", func(o *Options) { o.BinDir, o.HostConfDir = "bin", "net.d" }, []string{`--bin-dir: must be an absolute path, got "bin"`, "--host-bin-dir", "--host-conf-dir"}},
		{"a path as file", func(o *Options) { o.ConfName = "a/b.conflist" }, []string{`--conf-name: must be the plain name of a .conflist file, got "a/b.conflist"`}},
		{"a file that no runtime takes for a list", func(o *Options) { o.ConfName = "00-plexus.conf" }, []string{"--conf-name"}},
		{"a hidden file", func(o *Options) { o.ConfName = ".00.conflist" }, []string{"--conf-name"}},
		{"a path as master", func(o *Options) { o.Master = "/etc/cni/net.d/x.conf" }, []string{"--master: must be the name of a file in --conf-dir"}},
		{"ourselves as master", func(o *Options) { o.Master = DefaultConfName }, []string{"--master: 00-plexus.conflist is the file of plexus itself"}},
		{"a name that CNI does not allow", func(o *Options) { o.NetworkName = "a b" }, []string{`--network-name: name: "a b"`}},
		{"a negative time", func(o *Options) { o.Timeout = -1 }, []string{"--timeout: must not be negative"}},
		{"a relative socket", func(o *Options) { o.Socket = "x" }, []string{`agentSocket: must be an absolute path, got "x"`}},
		{"a relative kubeconfig", func(o *Options) { o.Kubeconfig = "x" }, []string{"kubeconfig: must be an absolute path"}},
		{"a level that does not exist", func(o *Options) { o.PluginLogLevel = "loud" }, []string{`unknown to plexus`, `logLevel: "loud"`}},
		{"an unknown key", extra(`{"logLevle": "debug", "zebra": 1}`), []string{"--extra-config: unknown to plexus: logLevle (the nearest known key is logLevel), zebra"}},
		{"a wrong value", extra(`{"addTimeout": "1h"}`), []string{"addTimeout: must be between"}},
		{"a wrong capability", extra(`{"capabilities": {"mac": "yes"}}`), []string{"--extra-config: capabilities: must be an object of true and false"}},
		{"keys that are decided on", extra(`{"type": "a", "clusternetwork": "b", "Delegates": []}`), []string{"type: must not be set here", "clusternetwork: must not", "--master", "Delegates: must not"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options := newTestNode(t).options
			tc.change(&options)
			_, err := New(options, (&logBuffer{}).logger())
			check.Error(t, err, tc.words...)
			if !IsMisuse(err) {
				t.Errorf("it is no misuse: %v", err)
			}
		})
	}
}

func TestReadExtra(t *testing.T) {
	n := newTestNode(t)
	n.conf("extra", ` {"namespaceIsolation": true}`)
	n.conf("broken", `{"a"`)
	for _, tc := range []struct {
		name, text string
		want       string
		words      []string
	}{
		{"none", " ", "", nil},
		{"inline", ` {"namespaceIsolation": true}`, "namespaceIsolation", nil},
		{"a file", n.confPath("extra"), "namespaceIsolation", nil},
		{"no such file", n.confPath("nowhere"), "", []string{"--extra-config", "nowhere: no such file", "give a JSON object, or the path"}},
		{"a folder", n.options.ConfDir, "", []string{"--extra-config", n.options.ConfDir + ": is not a regular file"}},
		{"a broken file", n.confPath("broken"), "", []string{"--extra-config: must be a JSON object"}},
		{"broken", `{"a"`, "", []string{"--extra-config: must be a JSON object"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			keys, err := ReadExtra(tc.text)
			if tc.words != nil {
				check.Error(t, err, tc.words...)
				return
			}
			check.Must(t, err)
			check.Equal(t, "keys", strings.Join(sortedKeys(keys), ","), tc.want)
		})
	}
}
