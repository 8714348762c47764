package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

const (
	containerID = "plexus-demo-web"
	cniArgs     = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web"
	ifName      = "eth0"
)

// prepare writes what the runtime passes to plexus: the configuration of examples/demo, made
// a plugin's as a runtime makes it, and the folder of manifests as the source.
func (d *demo) prepare() error {
	data, err := os.ReadFile(filepath.Join(d.examples, "00-plexus.conflist"))
	if err != nil {
		return err
	}
	var conflist struct {
		CNIVersion string           `json:"cniVersion"`
		Name       string           `json:"name"`
		Plugins    []map[string]any `json:"plugins"`
	}
	if err := json.Unmarshal(data, &conflist); err != nil {
		return fmt.Errorf("%s/00-plexus.conflist: %w", d.examples, err)
	}
	if len(conflist.Plugins) != 1 {
		return fmt.Errorf("%s/00-plexus.conflist has %d plugins, not plexus alone", d.examples, len(conflist.Plugins))
	}
	config := conflist.Plugins[0]
	config["cniVersion"], config["name"] = conflist.CNIVersion, conflist.Name
	if config["manifests"], err = filepath.Abs(filepath.Join(d.examples, "manifests")); err != nil {
		return err
	}
	return d.writeJSON("add.json", config)
}

// rememberResult writes what the runtime passes from then on: the same with ADD's result.
func (d *demo) rememberResult(result []byte) error {
	data, err := os.ReadFile(d.path("add.json"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	config["prevResult"] = json.RawMessage(result)
	return d.writeJSON("added.json", config)
}

// call calls plexus as a runtime does, after it has shown how.
func (d *demo) call(verb, config string) ([]byte, error) {
	env := []string{
		"CNI_COMMAND=" + verb,
		"CNI_CONTAINERID=" + containerID,
		"CNI_NETNS=" + d.netns(d.pod()),
		"CNI_IFNAME=" + ifName,
		"CNI_ARGS=" + cniArgs,
		"CNI_PATH=" + d.plugins,
	}
	plexus := filepath.Join(d.bin, "plexus")
	command(fmt.Sprintf("%s \\\n%s '%s' \\\n%s \\\n%s < %s",
		strings.Join(env[:3], " "), env[3], env[4], env[5], plexus, d.path(config)))
	stdin, err := os.ReadFile(d.path(config))
	if err != nil {
		return nil, err
	}
	env = append(env, "PATH="+os.Getenv("PATH"))
	out, err := output(stdin, env, d.inHost(plexus))
	if err != nil {
		return nil, fmt.Errorf("%s failed: %w", verb, saidBy(out, err))
	}
	return out, nil
}

// saidBy gives the error that a plugin printed, or else how it ended.
func saidBy(out []byte, err error) error {
	var said struct {
		Code    uint   `json:"code"`
		Msg     string `json:"msg"`
		Details string `json:"details"`
	}
	if json.Unmarshal(out, &said) != nil || said.Msg == "" {
		return err
	}
	text := fmt.Sprintf("plexus says: %s (CNI error code %d)", said.Msg, said.Code)
	if said.Details != "" {
		text += "\n" + said.Details
	}
	return errors.New(text)
}

// stateDir is the journal of plexus: "plexus" in the default of cniDir.
func (n *node) stateDir() string { return n.path("lib", "plexus", "plexus") }

func (n *node) record() (*types.Record, error) {
	records := journal.New(n.stateDir())
	keys, err := records.List()
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("%s holds %d records of what is attached, not the one of the demo's pod", n.stateDir(), len(keys))
	}
	return records.Read(keys[0])
}

// attachment is one network of the pod, with what its plugins reported.
type attachment struct {
	*types.Attachment
	plugins   []string
	addresses []string
	gateways  []string
	mac       string
}

// attachments reads what plexus has recorded.
func (n *node) attachments() ([]attachment, error) {
	record, err := n.record()
	if err != nil {
		return nil, err
	}
	all := make([]attachment, len(record.Plan.Attachments))
	for i := range all {
		all[i].Attachment = &record.Plan.Attachments[i]
		if err := all[i].read(record.Progress[i].Result); err != nil {
			return nil, fmt.Errorf("record of network %s: %w", all[i].Network, err)
		}
	}
	return all, nil
}

// read takes the plugins from the configuration, and the rest from their result.
func (a *attachment) read(result []byte) error {
	var config struct {
		Plugins []struct {
			Type string `json:"type"`
		} `json:"plugins"`
	}
	var made struct {
		Interfaces []struct {
			Name, Mac, Sandbox string
		} `json:"interfaces"`
		IPs []struct {
			Address, Gateway string
		} `json:"ips"`
	}
	if err := errors.Join(json.Unmarshal([]byte(a.Config), &config), json.Unmarshal(result, &made)); err != nil {
		return err
	}
	for _, plugin := range config.Plugins {
		a.plugins = append(a.plugins, plugin.Type)
	}
	for _, i := range made.Interfaces {
		if i.Sandbox != "" && i.Name == a.Interface {
			a.mac = i.Mac
		}
	}
	for _, ip := range made.IPs {
		a.addresses = append(a.addresses, ip.Address)
		if ip.Gateway != "" {
			a.gateways = append(a.gateways, ip.Gateway)
		}
	}
	return nil
}
