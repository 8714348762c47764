package types

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// ParseConfig reads Plexus's CNI configuration, as a runtime passes it on standard
// input, and fills in the defaults. It gives the keys that it does not know, as UnknownKey
// names them (the caller logs them), and an error that joins every fault, each with its field.
func ParseConfig(data []byte) (*Config, []string, error) {
	o, err := newObject("", data)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration of plexus: %w", err)
	}
	c := defaultConfig()
	readStandardKeys(o, c)
	readMultusKeys(o, c)
	readOwnKeys(o, c)
	if len(o.faults) == 0 {
		c.derive(o)
		c.validate(o)
	}
	if err := o.err(); err != nil {
		return nil, nil, fmt.Errorf("configuration of plexus, network %q: %w", c.Name, err)
	}
	return c, o.misspelt(), nil
}

func defaultConfig() *Config {
	return &Config{
		ConfDir:            DefaultConfDir,
		CNIDir:             DefaultCNIDir,
		BinDir:             DefaultBinDir,
		AgentSocket:        DefaultAgentSocket,
		PodResourcesSocket: DefaultPodResourcesSocket,
		DeviceCheckpoint:   DefaultDeviceCheckpoint,
		GlobalNamespaces:   CommaList{DefaultGlobalNamespace},
		SystemNamespaces:   []string{DefaultNamespace},
		MultusNamespace:    DefaultNamespace,
		Result:             ResultDefault,
		AddTimeout:         Duration(DefaultAddTimeout),
		DelegateTimeout:    Duration(DefaultDelegateTimeout),
		LogLevel:           "warning",
		LogToStderr:        true,
		LogOptions:         LogOptions{MaxAge: 5, MaxSize: 100, MaxBackups: 5, Compress: true},
	}
}

// readStandardKeys reads what the CNI specification defines, and knows the keys
// that it allows in any configuration but that mean nothing to a meta-plugin.
func readStandardKeys(o *object, c *Config) {
	read(o, "cniVersion", &c.CNIVersion)
	read(o, "name", &c.Name)
	read(o, "type", &c.Type)
	read(o, "capabilities", &c.Capabilities)
	read(o, "runtimeConfig", &c.RuntimeConfig)
	if prev, ok := o.get("prevResult"); ok {
		var asObject map[string]json.RawMessage
		read(o, "prevResult", &asObject)
		c.PrevResult = prev
	}
	// libcni writes the list under a second name too (its issue 1101), older ones under that
	// alone; and as null if it is empty.
	for _, key := range []string{"cni.dev/valid-attachments", "cni.dev/attachments"} {
		if !c.HasValidAttachments {
			c.HasValidAttachments = read(o, key, &c.ValidAttachments)
		}
	}
	if !c.HasValidAttachments && (o.isNull("cni.dev/valid-attachments") || o.isNull("cni.dev/attachments")) {
		c.HasValidAttachments, c.ValidAttachments = true, []GCAttachment{}
	}
	for _, key := range []string{"cni.dev/attachments", "cniVersions", "args", "ipam", "dns", "disableCheck", "disableGC"} {
		o.get(key)
	}
}

func readMultusKeys(o *object, c *Config) {
	read(o, "clusterNetwork", &c.ClusterNetwork)
	read(o, "defaultNetworks", &c.DefaultNetworks)
	read(o, "delegates", &c.Delegates)
	read(o, "auxiliaryCNIChainName", &c.AuxiliaryCNIChainName)
	readPath(o, "confDir", &c.ConfDir)
	readPath(o, "cniDir", &c.CNIDir)
	readPath(o, "binDir", &c.BinDir)
	read(o, "kubeconfig", &c.Kubeconfig)
	read(o, "readinessindicatorfile", &c.ReadinessIndicatorFile)
	read(o, "namespaceIsolation", &c.NamespaceIsolation)
	readCommaList(o, "globalNamespaces", &c.GlobalNamespaces)
	read(o, "systemNamespaces", &c.SystemNamespaces)
	readPath(o, "multusNamespace", &c.MultusNamespace)
	read(o, "retryDeleteOnError", &c.RetryDeleteOnError)
	read(o, "logFile", &c.LogFile)
	readLogLevel(o, &c.LogLevel)
	read(o, "logToStderr", &c.LogToStderr)
	readLogOptions(o, &c.LogOptions)
}

func readOwnKeys(o *object, c *Config) {
	read(o, "agentSocket", &c.AgentSocket)
	read(o, "manifests", &c.Manifests)
	read(o, "podResourcesSocket", &c.PodResourcesSocket)
	read(o, "deviceCheckpoint", &c.DeviceCheckpoint)
	read(o, "firstInterfaceIndex", &c.FirstInterfaceIndex)
	readPath(o, "result", &c.Result)
	readDuration(o, "addTimeout", &c.AddTimeout)
	readDuration(o, "delegateTimeout", &c.DelegateTimeout)
	read(o, "startAhead", &c.StartAhead)
	read(o, "allowedPlugins", &c.AllowedPlugins)
	read(o, "defaultNetworkNamespaces", &c.DefaultNetworkNamespaces)
}

// readPath reads a string whose empty value means the default, as in Multus.
func readPath(o *object, key string, dst *string) {
	var v string
	if read(o, key, &v) && v != "" {
		*dst = v
	}
}

// readLogLevel takes a level in any case. One that does not exist stops nothing, as in
// Multus: it is reported like an unknown key.
func readLogLevel(o *object, dst *string) {
	var level string
	if !read(o, "logLevel", &level) || level == "" {
		return
	}
	if level = strings.ToLower(level); slices.Contains(LogLevels, level) {
		*dst = level
		return
	}
	o.odd = append(o.odd, fmt.Sprintf("logLevel: %q (it is one of %s)", level, strings.Join(LogLevels, ", ")))
}

func readCommaList(o *object, key string, dst *CommaList) {
	var text string
	if read(o, key, &text) && text != "" {
		_ = dst.UnmarshalText([]byte(text))
	}
}

func readDuration(o *object, key string, dst *Duration) {
	var text string
	if !read(o, key, &text) {
		return
	}
	if err := dst.UnmarshalText([]byte(text)); err != nil {
		o.fault(key, err.Error())
	}
}

func readLogOptions(o *object, dst *LogOptions) {
	raw, ok := o.get("logOptions")
	if !ok {
		return
	}
	inner, err := newObject("logOptions", raw)
	if err != nil {
		o.faults = append(o.faults, err)
		return
	}
	read(inner, "maxAge", &dst.MaxAge)
	read(inner, "maxSize", &dst.MaxSize)
	read(inner, "maxBackups", &dst.MaxBackups)
	read(inner, "compress", &dst.Compress)
	o.faults = append(o.faults, inner.faults...)
}

// derive fills in the defaults that depend on other keys.
func (c *Config) derive(o *object) {
	if _, given := o.get("defaultNetworkNamespaces"); !given {
		c.DefaultNetworkNamespaces = []string{c.MultusNamespace}
	}
}

func (c *Config) validate(o *object) {
	if c.ClusterNetwork == "" && len(c.Delegates) == 0 {
		o.fault("clusterNetwork", "one of clusterNetwork and delegates must say which network makes the pod's first interface")
	}
	for i, delegate := range c.Delegates {
		if kind := kindOf(delegate); kind != "an object" {
			o.fault(fmt.Sprintf("delegates[%d]", i), "must be a CNI network configuration, got "+kind)
		}
	}
	for i, name := range c.DefaultNetworks {
		if name == "" {
			o.fault(fmt.Sprintf("defaultNetworks[%d]", i), "must not be empty")
		}
	}
	c.validateChoices(o)
	c.validatePaths(o)
	c.validateNumbers(o)
}

func (c *Config) validateChoices(o *object) {
	if c.Result != ResultDefault && c.Result != ResultAll {
		o.fault("result", fmt.Sprintf("must be %q or %q, got %q", ResultDefault, ResultAll, c.Result))
	}
	if strings.ContainsRune(c.AuxiliaryCNIChainName, '/') || strings.HasPrefix(c.AuxiliaryCNIChainName, ".") {
		o.fault("auxiliaryCNIChainName", fmt.Sprintf("must be the plain name of a folder, got %q", c.AuxiliaryCNIChainName))
	}
	for _, namespace := range slices.Sorted(maps.Keys(c.AllowedPlugins)) {
		checkPlainNames(o, "allowedPlugins."+namespace, c.AllowedPlugins[namespace])
	}
	checkPlainNames(o, "startAhead", c.StartAhead)
}

// checkPlainNames refuses what is no plain name of a plugin.
func checkPlainNames(o *object, key string, plugins []string) {
	for i, plugin := range plugins {
		if plugin == "" || strings.ContainsRune(plugin, '/') {
			o.fault(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("must be a plugin's plain name, got %q", plugin))
		}
	}
}

// LogLevels are the levels that a configuration may name. The first four are those
// of Multus: panic logs nothing, verbose is what others call info.
var LogLevels = []string{"panic", "error", "verbose", "debug", "warning", "info"}

func (c *Config) validatePaths(o *object) {
	for _, p := range []struct{ key, path string }{
		{"confDir", c.ConfDir},
		{"cniDir", c.CNIDir},
		{"binDir", c.BinDir},
		{"kubeconfig", c.Kubeconfig},
		{"agentSocket", c.AgentSocket},
		{"manifests", c.Manifests},
		{"podResourcesSocket", c.PodResourcesSocket},
		{"deviceCheckpoint", c.DeviceCheckpoint},
		{"readinessindicatorfile", c.ReadinessIndicatorFile},
		{"logFile", c.LogFile},
	} {
		if p.path != "" && !path.IsAbs(p.path) {
			o.fault(p.key, fmt.Sprintf("must be an absolute path, got %q: a runtime calls plugins from a folder of its choice", p.path))
		}
	}
}

func (c *Config) validateNumbers(o *object) {
	if c.FirstInterfaceIndex < 0 {
		o.fault("firstInterfaceIndex", fmt.Sprintf("must not be negative, got %d", c.FirstInterfaceIndex))
	}
	if d := time.Duration(c.AddTimeout); d < time.Second || d > maxAddTimeout {
		o.fault("addTimeout", fmt.Sprintf("must be between 1s and %v, got %v", maxAddTimeout, d))
	}
	if d := time.Duration(c.DelegateTimeout); d < time.Second || d > maxAddTimeout {
		o.fault("delegateTimeout", fmt.Sprintf("must be between 1s and %v, got %v", maxAddTimeout, d))
	}
	for _, option := range []struct {
		key string
		n   int
	}{{"maxAge", c.LogOptions.MaxAge}, {"maxSize", c.LogOptions.MaxSize}, {"maxBackups", c.LogOptions.MaxBackups}} {
		if option.n < 0 {
			o.fault("logOptions."+option.key, fmt.Sprintf("must not be negative, got %d", option.n))
		}
	}
}
