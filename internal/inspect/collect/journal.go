//go:build linux

package collect

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// readJournal reads the records. One that cannot be read is a note.
func (c *collector) readJournal() {
	records := journal.New(c.options.at(c.options.StateDir))
	keys, err := records.List()
	if err != nil {
		c.note(c.options.StateDir, err)
	}
	for _, key := range keys {
		record, err := records.Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			c.note(filepath.Join(c.options.StateDir, key.ContainerID), err)
			continue
		}
		c.snapshot.Records = append(c.snapshot.Records, c.recorded(record))
	}
}

func (c *collector) recorded(r *types.Record) inspect.Record {
	where := journal.WhereaboutsOf(r)
	record := inspect.Record{
		Sandbox: inspect.Sandbox{ContainerID: r.Plan.Sandbox.ContainerID}, Network: r.Network, Interface: r.Plan.Sandbox.IfName,
		Path: where.NetNS, Inode: where.ID.Inode, Live: c.options.lives(where, c.snapshot.Machine.BootID), Complete: r.Complete, Published: r.Published, Created: r.Created,
		Attachments: []inspect.Attachment{},
	}
	if r.Plan.Pod.Name != "" {
		record.Pod = r.Plan.Pod.Namespace + "/" + r.Plan.Pod.Name
	}
	if record.Live && record.Inode == 0 {
		record.Inode, _ = host.NetNS(c.options.at(record.Path))
	}
	for i := range r.Plan.Attachments {
		record.Attachments = append(record.Attachments, attachment(&r.Plan.Attachments[i], r.Progress[i]))
	}
	return record
}

func attachment(planned *types.Attachment, done types.Progress) inspect.Attachment {
	a := inspect.Attachment{
		Network: planned.Network, Interface: planned.Interface, Plugins: pluginTypes(planned.Config), DeviceID: planned.DeviceID,
		Attached: done.Result != nil && !done.Released,
	}
	readResult(&a, done.Result)
	return a
}

// pluginTypes gives the names of a configuration's plugins, and nothing else of it.
func pluginTypes(config string) []string {
	var list struct {
		Plugins []struct {
			Type string `json:"type"`
		} `json:"plugins"`
	}
	_ = json.Unmarshal([]byte(config), &list)
	var names []string
	for _, plugin := range list.Plugins {
		names = append(names, plugin.Type)
	}
	return names
}

// readResult reads what a CNI result says about interfaces, addresses and routes. Results before
// version 0.3.0 name no interfaces.
func readResult(a *inspect.Attachment, result json.RawMessage) {
	var parsed struct {
		Interfaces []struct {
			Name    string `json:"name"`
			MAC     string `json:"mac"`
			Sandbox string `json:"sandbox"`
			Socket  string `json:"socketPath"`
		} `json:"interfaces"`
		IPs []struct {
			Interface *int   `json:"interface"`
			Address   string `json:"address"`
			Gateway   string `json:"gateway"`
		} `json:"ips"`
		Routes []struct {
			To  string `json:"dst"`
			Via string `json:"gw"`
		} `json:"routes"`
	}
	_ = json.Unmarshal(result, &parsed)
	for _, i := range parsed.Interfaces {
		a.Interfaces = append(a.Interfaces, inspect.RecordedInterface{Name: i.Name, MAC: i.MAC, InSandbox: i.Sandbox != "", Socket: i.Socket})
	}
	for _, ip := range parsed.IPs {
		address := inspect.RecordedAddress{Address: ip.Address, Gateway: ip.Gateway}
		if ip.Interface != nil && *ip.Interface >= 0 && *ip.Interface < len(parsed.Interfaces) {
			address.Interface = parsed.Interfaces[*ip.Interface].Name
		}
		a.Addresses = append(a.Addresses, address)
	}
	for _, route := range parsed.Routes {
		a.Routes = append(a.Routes, inspect.RecordedRoute(route))
	}
}
