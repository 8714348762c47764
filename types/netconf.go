package types

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// NetConf is a CNI network configuration list on its way into a plan. A single
// configuration is made a list when it is read; only lists exist after.
type NetConf struct {
	Name    string
	Plugins []PluginConf
	// File is what it was read from; "" if that was no file.
	File string
	// rest holds the keys of the list other than name and plugins.
	rest map[string]json.RawMessage
}

// PluginConf is the configuration of one plugin of a list.
type PluginConf struct {
	Type         string
	Capabilities map[string]bool
	// Executables are the plugins that this one runs in turn, each with the key that
	// names it: IPAM, flannel's delegate.
	Executables []Executable
	keys        map[string]json.RawMessage
}

// Executable is a plugin that a configuration names, and the key that names it.
type Executable struct{ Key, Type string }

// ParseNetConf reads a network configuration or configuration list. An absent or
// empty name becomes defaultName (section 3.4.2), which may be empty if none is known.
func ParseNetConf(data []byte, defaultName string) (*NetConf, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("configuration is not valid UTF-8")
	}
	o, err := newObject("", data)
	if err != nil {
		return nil, err
	}
	c := &NetConf{Name: defaultName, rest: o.raw}
	var name string
	if read(o, "name", &name) && name != "" {
		c.Name = name
	}
	var version string
	read(o, "cniVersion", &version)
	if _, isList := o.get("plugins"); isList {
		c.readPlugins(o)
	} else {
		c.wrapSingle(o)
	}
	drop(c.rest, "name", "plugins")
	return c, o.err()
}

// MaxPlugins bounds the plugins of a list that is planned: each gets all the cni-args of a
// pod. A longer one can still be read, to release what an older version attached by it.
const MaxPlugins = 64

func (c *NetConf) readPlugins(o *object) {
	var plugins []json.RawMessage
	if read(o, "plugins", &plugins) && len(plugins) == 0 {
		o.fault("plugins", "must have at least one plugin")
	}
	for i, raw := range plugins {
		p, err := parsePluginConf(fmt.Sprintf("plugins[%d]", i), raw)
		if err != nil {
			o.faults = append(o.faults, err)
			continue
		}
		c.Plugins = append(c.Plugins, *p)
	}
}

// wrapSingle makes a list of a single configuration. The list has its version, as
// libcni does it.
func (c *NetConf) wrapSingle(o *object) {
	var kind string
	if !read(o, "type", &kind) {
		if _, given := o.get("type"); !given {
			o.fault("type", "is missing: a network configuration has a type, a list of them has plugins")
		}
		return
	}
	p, err := pluginFromObject(o.anew())
	if err != nil {
		o.faults = append(o.faults, err)
		return
	}
	c.Plugins = []PluginConf{*p}
	c.rest = map[string]json.RawMessage{}
	if version, ok := o.get("cniVersion"); ok {
		c.rest["cniVersion"] = version
	}
}

func parsePluginConf(path string, raw json.RawMessage) (*PluginConf, error) {
	o, err := newObject(path, raw)
	if err != nil {
		return nil, err
	}
	return pluginFromObject(o)
}

func pluginFromObject(o *object) (*PluginConf, error) {
	p := &PluginConf{keys: o.raw}
	if !read(o, "type", &p.Type) || p.Type == "" {
		o.fault("type", "is missing or not a string")
	}
	read(o, "capabilities", &p.Capabilities)
	p.readExecutables(o)
	p.check(o)
	return p, o.err()
}

// readExecutables finds the plugins that this one will run itself.
func (p *PluginConf) readExecutables(o *object) {
	p.readNested(o, "ipam", "")
	if p.Type != "flannel" {
		return
	}
	// flannel runs a delegate of its own making: bridge unless it is told otherwise. In
	// one that is flannel again, what runs in the end would not be seen.
	if !p.readNested(o, "delegate", "bridge") {
		p.Executables = append(p.Executables, Executable{Key: "delegate.type", Type: "bridge"})
	}
	for _, e := range p.Executables {
		if e == (Executable{Key: "delegate.type", Type: "flannel"}) {
			o.fault(e.Key, "must not be flannel again")
		}
	}
	if !p.readDelegateIPAM(o) {
		p.Executables = append(p.Executables, Executable{Key: "delegate.ipam.type", Type: "host-local"})
	}
}

// readNested notes the executable of the object under key, and reports whether it has one.
func (p *PluginConf) readNested(o *object, key, otherwise string) bool {
	raw, ok := o.get(key)
	if !ok {
		return false
	}
	inner, err := newObject(join(o.path, key), raw)
	if err != nil {
		o.faults = append(o.faults, err)
		return false
	}
	kind := otherwise
	read(inner, "type", &kind)
	o.faults = append(o.faults, inner.faults...)
	if kind == "" {
		return false
	}
	p.Executables = append(p.Executables, Executable{Key: key + ".type", Type: kind})
	return true
}

func (p *PluginConf) readDelegateIPAM(o *object) bool {
	raw, ok := o.get("delegate")
	if !ok {
		return false
	}
	inner, err := newObject(join(o.path, "delegate"), raw)
	if err != nil {
		return false
	}
	nested := PluginConf{}
	found := nested.readNested(inner, "ipam", "host-local")
	o.faults = append(o.faults, inner.faults...)
	for _, e := range nested.Executables {
		p.Executables = append(p.Executables, Executable{Key: "delegate." + e.Key, Type: e.Type})
	}
	return found
}

// check refuses what would reach an executable by anything but its plain name.
func (p *PluginConf) check(o *object) {
	for _, e := range append([]Executable{{Key: "type", Type: p.Type}}, p.Executables...) {
		if err := checkPlainName(e.Type); err != nil {
			o.fault(e.Key, err.Error())
		}
	}
}

func checkPlainName(name string) error {
	for _, r := range name {
		if r == '/' || r == '\\' || r == 0 {
			return fmt.Errorf("plugin %q must be a plain name, not a path", name)
		}
	}
	if name == "." || name == ".." {
		return fmt.Errorf("plugin %q is not the name of an executable", name)
	}
	return nil
}

// HasCapability reports whether a plugin of the list declares the capability.
func (c *NetConf) HasCapability(name string) bool {
	for _, p := range c.Plugins {
		if p.Capabilities[name] {
			return true
		}
	}
	return false
}

// Runs reports whether a plugin of the list runs another one in turn, as an IPAM plugin.
func (c *NetConf) Runs(plugin string) bool {
	for _, p := range c.Plugins {
		if slices.ContainsFunc(p.Executables, func(e Executable) bool { return e.Type == plugin }) {
			return true
		}
	}
	return false
}

// SetInEveryPlugin sets a key of every plugin's configuration.
func (c *NetConf) SetInEveryPlugin(key string, value json.RawMessage) {
	for i := range c.Plugins {
		drop(c.Plugins[i].keys, key)
		c.Plugins[i].keys[key] = value
	}
}

// MergeCNIArgs puts args into `args.cni` of every plugin; what the configuration
// says under the same key gives way (section 4.1.2.1.6). An `args` or `args.cni`
// that is not an object is an error.
func (c *NetConf) MergeCNIArgs(args map[string]json.RawMessage) error {
	for i := range c.Plugins {
		merged, err := mergeArgs(c.Plugins[i].keys, args)
		if err != nil {
			return fmt.Errorf("plugins[%d] (%s): %w", i, c.Plugins[i].Type, err)
		}
		drop(c.Plugins[i].keys, "args")
		c.Plugins[i].keys["args"] = merged
	}
	return nil
}

func mergeArgs(keys, args map[string]json.RawMessage) (json.RawMessage, error) {
	outer, err := objectUnder(objectOf("", keys), "args", "args")
	if err != nil {
		return nil, err
	}
	inner, err := objectUnder(outer, "cni", "args.cni")
	if err != nil {
		return nil, err
	}
	overlay(inner.raw, args)
	cni, err := json.Marshal(inner.raw)
	if err != nil {
		return nil, err
	}
	drop(outer.raw, "cni")
	outer.raw["cni"] = cni
	return json.Marshal(outer.raw)
}

func objectUnder(o *object, key, path string) (*object, error) {
	raw, ok := o.get(key)
	if !ok {
		return objectOf(path, map[string]json.RawMessage{}), nil
	}
	inner, err := newObject(path, raw)
	if err != nil {
		return nil, err
	}
	return inner, inner.err()
}

// drop removes keys from m, however they are written.
func drop(m map[string]json.RawMessage, keys ...string) {
	for candidate := range m {
		if slices.ContainsFunc(keys, func(key string) bool { return equalKey(candidate, key) }) {
			delete(m, candidate)
		}
	}
}

// overlay puts fields into m in place of those of the same name, however they are written.
func overlay(m, fields map[string]json.RawMessage) {
	names := make(map[string]bool, len(fields))
	for key := range fields {
		names[fold(key)] = true
	}
	for key := range m {
		if names[fold(key)] {
			delete(m, key)
		}
	}
	maps.Copy(m, fields)
}

// Bytes encodes the list. The order of keys is alphabetical, so that equal lists
// have equal bytes.
func (c *NetConf) Bytes() ([]byte, error) {
	list := map[string]any{"name": c.Name}
	for key, value := range c.rest {
		list[key] = value
	}
	plugins := make([]map[string]json.RawMessage, len(c.Plugins))
	for i, p := range c.Plugins {
		plugins[i] = p.keys
	}
	list["plugins"] = plugins
	return json.Marshal(list)
}

// SetDefaultVersion gives the list a cniVersion if it says none, nor a choice of them.
func (c *NetConf) SetDefaultVersion(version string) {
	if _, choice := objectOf("", c.rest).get("cniVersions"); c.Version() == "" && !choice && version != "" {
		c.SetVersion(version)
	}
}

// Version gives the list's cniVersion, "" if it says none.
func (c *NetConf) Version() string {
	var own string
	read(objectOf("", c.rest), "cniVersion", &own)
	return own
}

// Versions gives the list's cniVersions, the versions that it may be run in; nil if it says none.
func (c *NetConf) Versions() []string {
	var versions []string
	read(objectOf("", c.rest), "cniVersions", &versions)
	return versions
}

// SetVersion makes a version the only one of the list.
func (c *NetConf) SetVersion(version string) {
	drop(c.rest, "cniVersion", "cniVersions")
	c.rest["cniVersion"], _ = json.Marshal(version)
}

// AppendPlugins adds the configurations of further plugins to the list, as libcni
// does with those of the folder that has the network's name.
func AppendPlugins(list []byte, plugins [][]byte) ([]byte, error) {
	o, err := newObject("", list)
	if err != nil {
		return nil, err
	}
	var all []json.RawMessage
	read(o, "plugins", &all)
	if err := o.err(); err != nil {
		return nil, err
	}
	for _, plugin := range plugins {
		all = append(all, plugin)
	}
	drop(o.raw, "plugins")
	if o.raw["plugins"], err = json.Marshal(all); err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	return json.Marshal(o.raw)
}

// DropPrevResult takes away a result that the configuration itself has: only a plugin
// before it in the chain gives one to a plugin (CNI specification, section 3).
func (c *NetConf) DropPrevResult() {
	for i := range c.Plugins {
		drop(c.Plugins[i].keys, "prevResult")
	}
}

// EmptyResult is a CNI result without interfaces, addresses and routes.
type EmptyResult struct {
	CNIVersion string `json:"cniVersion"`
}

// SetPrevResult gives the first plugin of the list a result to follow.
func (c *NetConf) SetPrevResult(result EmptyResult) error {
	value, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("prevResult: %w", err)
	}
	drop(c.Plugins[0].keys, "prevResult")
	c.Plugins[0].keys["prevResult"] = value
	return nil
}
