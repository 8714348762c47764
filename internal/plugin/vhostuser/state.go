package vhostuser

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/types"
)

// stateFormat is the format of the files of a Store.
const stateFormat = 1

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

// check reports what of a state cannot be. Root acts on it, so all of it is checked.
func (s *State) check() error {
	if s.Container == "" || s.Port != s.attachment().PortName() || !strings.HasPrefix(s.OVSDB, "unix:/") ||
		s.DeviceInfo != "" && !isClean(s.DeviceInfo) || s.Timeout <= 0 || s.Timeout > maxTimeout {
		return errors.New("it is no state")
	}
	return s.Place.check()
}

// Store is the folder of the state files, one per attachment, named for its port.
type Store struct{ statefile.Folder[State] }

func storeIn(dir string) *Store {
	return &Store{statefile.Folder[State]{
		Dir: dir, Format: stateFormat,
		Name:  func(s *State) string { return s.Port },
		Check: (*State).check,
	}}
}

// all gives every state that can be read, and the errors of those that cannot.
func (s *Store) all() ([]*State, error) {
	ports, err := s.Names()
	if err != nil {
		return nil, err
	}
	var states []*State
	var faults []error
	for _, port := range ports {
		state, err := s.Read(port)
		switch {
		case err == nil:
			states = append(states, state)
		case !errors.Is(err, fs.ErrNotExist): // another call has just released it
			faults = append(faults, err)
		}
	}
	return states, types.Join(faults...)
}

// isShared reports whether other attachments have the folder of this one.
func (s *Store) isShared(state *State) (bool, error) {
	others, err := s.sharing(state)
	return len(others) > 0, err
}

// sharing gives the other attachments with the same folder. A state that cannot be
// read counts for none: it would keep every folder for ever.
func (s *Store) sharing(state *State) ([]*State, error) {
	ports, err := s.Names()
	if err != nil {
		return nil, err
	}
	var others []*State
	for _, port := range ports {
		if port == state.Port {
			continue
		}
		if other, err := s.Read(port); err == nil && other.Place.Dir() == state.Place.Dir() {
			others = append(others, other)
		}
	}
	return others, nil
}
