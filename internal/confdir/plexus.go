package confdir

import (
	"encoding/json"

	"github.com/containernetworking/cni/libcni"
)

// PlexusConf gives the configuration of Plexus in what a file has, as a runtime hands it over; nil if
// it has none.
func PlexusConf(data []byte) ([]byte, error) {
	var conf struct {
		Type    string            `json:"type"`
		Plugins []json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(data, &conf); err != nil {
		return nil, err
	}
	if conf.Plugins == nil {
		if conf.Type != "plexus" {
			return nil, nil
		}
		return data, nil
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	for _, plugin := range list.Plugins {
		if plugin.Network.Type == "plexus" {
			injected, err := libcni.InjectConf(plugin, map[string]any{"name": list.Name, "cniVersion": list.CNIVersion})
			if err != nil {
				return nil, err
			}
			return injected.Bytes, nil
		}
	}
	return nil, nil
}

// FindPlexus gives the first file of a folder's whose configuration is Plexus's, nil if none is. The first
// that is not broken goes before one that is.
func FindPlexus(files []File) *File {
	var broken *File
	for i := range files {
		file := &files[i]
		switch {
		case file.Owner != Plexus:
		case file.Fault == nil:
			return file
		case broken == nil:
			broken = file
		}
	}
	return broken
}

// AsRead gives the path of a file as if it had the extension that a runtime would read its content by.
func AsRead(path string, data []byte) string {
	var conf struct {
		Plugins []json.RawMessage `json:"plugins"`
	}
	if json.Unmarshal(data, &conf) == nil && conf.Plugins != nil {
		return path + ".conflist"
	}
	return path + ".conf"
}

// Version gives the cniVersion of a file that is not broken.
func (f *File) Version() string {
	var conf struct {
		CNIVersion string `json:"cniVersion"`
	}
	_ = json.Unmarshal(f.Data, &conf)
	return conf.CNIVersion
}
