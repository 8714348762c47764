package delegate

import (
	"encoding/json"
	"fmt"
)

// ofAllPods gives a configuration list without what Plexus put in for one pod: the pod's
// own arguments, which are nobody else's business. The id is the same for all pods of a
// network, whatever their devices.
func ofAllPods(config []byte) (shared []byte, id string, err error) {
	var list map[string]json.RawMessage
	var plugins []map[string]json.RawMessage
	if err := json.Unmarshal(config, &list); err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(list["plugins"], &plugins); err != nil {
		return nil, "", fmt.Errorf("plugins: %w", err)
	}
	for _, plugin := range plugins {
		dropArguments(plugin)
	}
	if shared, err = joinList(list, plugins); err != nil {
		return nil, "", err
	}
	for _, plugin := range plugins {
		delete(plugin, "deviceID")
		delete(plugin, "pciBusID")
	}
	whole, err := joinList(list, plugins)
	return shared, string(whole), err
}

func joinList(list map[string]json.RawMessage, plugins []map[string]json.RawMessage) ([]byte, error) {
	encoded, err := json.Marshal(plugins)
	if err != nil {
		return nil, err
	}
	list["plugins"] = encoded
	return json.Marshal(list)
}

// dropArguments removes args.cni, which has the pod's cni-args.
func dropArguments(plugin map[string]json.RawMessage) {
	var args map[string]json.RawMessage
	if json.Unmarshal(plugin["args"], &args) != nil {
		return
	}
	delete(args, "cni")
	if len(args) == 0 {
		delete(plugin, "args")
		return
	}
	plugin["args"], _ = json.Marshal(args) // of what was just read
}
