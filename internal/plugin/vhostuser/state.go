package vhostuser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// stateFormat is the format of the files of a Store.
const stateFormat = 1

const (
	stateSuffix = ".json"
	newSuffix   = ".new"        // a state that was not yet whole when its writer ended
	maxState    = 4 * maxConfig // bytes: it holds a configuration, and another as base64
)

// errDamaged is of a state file that says nothing of use.
var errDamaged = errors.New("is damaged")

// State is all that releasing an attachment needs. It is on disk before anything of
// the attachment is made, and goes when everything is gone.
type State struct {
	Format     int             `json:"format"`
	Network    string          `json:"network"`
	Container  string          `json:"containerID"`
	Interface  string          `json:"ifname"`
	NetNS      string          `json:"netns,omitempty"`
	Args       string          `json:"args,omitempty"`
	OVSDB      string          `json:"ovsdb"`
	Port       string          `json:"port"`
	Timeout    time.Duration   `json:"timeout"`
	IPAM       string          `json:"ipam,omitempty"`
	Place      Place           `json:"place"`
	DeviceInfo string          `json:"deviceInfo,omitempty"`
	Config     json.RawMessage `json:"config"` // the network's, as ADD got it: IPAM wants it again
	// AppConfig is the configuration file of the application, once it is written.
	AppConfig []byte `json:"appConfig,omitempty"`
}

// newState gives what an ADD writes down first.
func newState(c *Config, a *Attachment) *State {
	return &State{
		Format: stateFormat, Network: a.Network, Container: a.ContainerID, Interface: a.Interface, NetNS: a.NetNS, Args: a.Args,
		OVSDB: c.OVSDB, Port: a.PortName(), Timeout: c.Timeout, IPAM: c.IPAM, Place: *placeOf(c, a), DeviceInfo: c.DeviceInfo, Config: c.Raw,
	}
}

// attachment gives whose state it is.
func (s *State) attachment() *Attachment {
	return &Attachment{Network: s.Network, ContainerID: s.Container, Interface: s.Interface, NetNS: s.NetNS, Args: s.Args}
}

// parseState reads a state file. What it says is acted upon by root, so all of it is
// looked at.
func parseState(data []byte) (*State, error) {
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if s.Format > stateFormat {
		return nil, fmt.Errorf("was written by a newer version of this plugin (format %d): use that one", s.Format)
	}
	if s.Format != stateFormat || s.Container == "" || s.Port != s.attachment().PortName() || !strings.HasPrefix(s.OVSDB, "unix:/") ||
		s.DeviceInfo != "" && !isClean(s.DeviceInfo) || s.Timeout <= 0 || s.Timeout > maxTimeout {
		return nil, errDamaged
	}
	if err := s.Place.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &s, nil
}

// Store is the folder of the state files, one per attachment. It is root's alone.
type Store string

func (s Store) path(port string) string { return filepath.Join(string(s), port+stateSuffix) }

// write writes a state to the disk, whole or not at all.
func (s Store) write(state *State) error {
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	path := s.path(state.Port)
	if err := types.Join(host.MakeDir(string(s)), host.ReplaceFile(path, path+newSuffix, 0o600, bytes.NewReader(data))); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// read gives the state of an attachment by its port's name; fs.ErrNotExist if there is
// none.
func (s Store) read(port string) (*State, error) {
	path := s.path(port)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxState {
		return nil, fmt.Errorf("state %s: %w", path, errDamaged)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	state, err := parseState(data)
	if err == nil && state.Port != port {
		err = errDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	return state, nil
}

// ports gives the names of the ports of all states.
func (s Store) ports() ([]string, error) {
	entries, err := os.ReadDir(string(s))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state: %w", err)
	}
	var ports []string
	for _, entry := range entries {
		if port, ok := strings.CutSuffix(entry.Name(), stateSuffix); ok {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// all gives every state that can be read, and the errors of those that cannot.
func (s Store) all() ([]*State, error) {
	ports, err := s.ports()
	if err != nil {
		return nil, err
	}
	var states []*State
	var faults []error
	for _, port := range ports {
		state, err := s.read(port)
		switch {
		case err == nil:
			states = append(states, state)
		case !errors.Is(err, fs.ErrNotExist): // another call has just released it
			faults = append(faults, err)
		}
	}
	return states, types.Join(faults...)
}

// remove removes a state; none there is success.
func (s Store) remove(port string) error {
	path := s.path(port)
	if err := host.RemoveFiles(path+newSuffix, path); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
