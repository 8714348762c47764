package delegate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/types"
)

// multusDelegate is one element of the file in which Multus keeps what it attached a
// sandbox to, as far as it is needed to release it.
type multusDelegate struct {
	Name string // "namespace/name" of a definition, else the CNI name
	// Bytes is the configuration. Of a list that Multus read from a file it has lost
	// the plugins' own keys; the next field has them.
	Bytes                []byte
	CNINetworkConfigList struct {
		Name       string
		CNIVersion string
		Plugins    []struct{ Bytes []byte }
	}
	IfnameRequest string `json:"ifnameRequest"`
}

// conf gives the configuration of the delegate.
func (d *multusDelegate) conf(defaultVersion string) (*types.NetConf, error) {
	data := d.Bytes
	if full := d.CNINetworkConfigList; len(full.Plugins) > 0 {
		head, err := json.Marshal(map[string]string{"name": full.Name, "cniVersion": full.CNIVersion})
		if err != nil {
			return nil, err
		}
		plugins := make([][]byte, len(full.Plugins))
		for i, plugin := range full.Plugins {
			plugins[i] = plugin.Bytes
		}
		if data, err = types.AppendPlugins(head, plugins); err != nil {
			return nil, err
		}
	}
	conf, err := types.ParseNetConf(data, filepath.Base(d.Name))
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", d.Name, err)
	}
	conf.SetDefaultVersion(defaultVersion)
	return conf, nil
}

// ifName gives the interface, by Multus's rule: the first delegate has the runtime's,
// the others the one asked for or net<position>.
func (d *multusDelegate) ifName(position int, runtimes string) string {
	switch {
	case d.IfnameRequest != "":
		return d.IfnameRequest
	case position == 0:
		return runtimes
	default:
		return fmt.Sprintf("net%d", position)
	}
}

// readMultus reads the state of a sandbox that Multus attached. The error is
// fs.ErrNotExist if there is none.
func readMultus(path string) ([]multusDelegate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	delegates, err := parseMultus(data)
	if err != nil {
		return nil, fmt.Errorf("state of Multus %s: %w", path, err)
	}
	return delegates, nil
}

func parseMultus(data []byte) (delegates []multusDelegate, err error) {
	if err := json.Unmarshal(data, &delegates); err != nil {
		return nil, err
	}
	if len(delegates) == 0 {
		return nil, errors.New("it names no network")
	}
	for i := range delegates {
		if d := &delegates[i]; len(d.Bytes) == 0 && len(d.CNINetworkConfigList.Plugins) == 0 {
			return nil, fmt.Errorf("network %d (%q) has no configuration", i, d.Name)
		}
	}
	return delegates, nil
}

// releaseMultus releases a sandbox that Multus attached, and reports whether it was
// one. Multus's file is consumed, as Multus would, once everything is released.
func (e *Engine) releaseMultus(ctx context.Context, u *unrecorded) (bool, error) {
	for _, dir := range e.stateDirs() {
		path := filepath.Join(dir, u.key.ContainerID)
		delegates, err := readMultus(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			e.Log.Error("the state that Multus left cannot be read; the sandbox is released from what else is known of it", "error", err)
			continue
		}
		if err := e.delMultus(ctx, u, dir, delegates); err != nil {
			return true, fmt.Errorf("attached by Multus (%s): %w", path, err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, fmt.Errorf("state of Multus: %w", err)
		}
		return true, nil
	}
	return false, nil
}

func (e *Engine) delMultus(ctx context.Context, u *unrecorded, dir string, delegates []multusDelegate) error {
	cni := e.cni(u.lock, u.key.ContainerID, dir)
	var faults []error
	for i := len(delegates) - 1; i >= 0; i-- {
		share, cancel := fairShare(ctx, i+1)
		err := e.delMultusOne(share, cni, u, multusAttachment{&delegates[i], i})
		cancel()
		if err != nil {
			faults = append(faults, fmt.Errorf("detach network %s: %w", delegates[i].Name, err))
		}
	}
	return types.Join(faults...)
}

type multusAttachment struct {
	*multusDelegate
	position int
}

func (e *Engine) delMultusOne(ctx context.Context, cni *libcni.CNIConfig, u *unrecorded, a multusAttachment) error {
	conf, err := a.conf(e.Config.CNIVersion)
	if err != nil {
		return err
	}
	list, err := toList(conf)
	if err != nil {
		return err
	}
	rt := runtimeConf(&types.Attachment{Interface: a.ifName(a.position, u.key.IfName)}, &u.sandbox, u.sandbox.NetNS)
	// The capability arguments of the ADD are not in Multus's file, but in libcni's.
	if _, cached, err := cni.GetNetworkListCachedConfig(list, rt); err == nil && cached != nil {
		rt = cached
	}
	return describe(cni.DelNetworkList(ctx, list, rt))
}
