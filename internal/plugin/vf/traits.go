package vf

import (
	"bytes"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// Traits are what a pod with NET_ADMIN may change of its interface besides what Link has. The kernel
// leaves them as they are when the interface goes to another namespace, or comes home from a dead one.
type Traits struct {
	Flags   uint32            `json:"flags"` // those of TraitFlags
	TxQLen  int               `json:"txQLen"`
	Alias   string            `json:"alias,omitempty"`
	Group   uint32            `json:"group"`
	XDP     uint32            `json:"xdp,omitempty"`     // number of the program, 0 for none
	Ethtool map[string][]byte `json:"ethtool,omitempty"` // by name: offloads and the like, as the kernel gives them
}

// TraitFlags are the flags of an interface that anybody may set.
const TraitFlags = unix.IFF_PROMISC | unix.IFF_ALLMULTI | unix.IFF_MULTICAST | unix.IFF_NOARP | unix.IFF_DEBUG | unix.IFF_NOTRAILERS | unix.IFF_DYNAMIC

// sameLink reports whether two have the same but for Ethtool.
func (t *Traits) sameLink(o *Traits) bool {
	return t.Flags == o.Flags && t.TxQLen == o.TxQLen && t.Alias == o.Alias && t.Group == o.Group && t.XDP == o.XDP
}

// snapshotTraits records the traits of the interface. An ADD can do without.
func (e *Engine) snapshotTraits(s *State) {
	traits, err := e.Links.Traits(s.Link.Index)
	if err != nil {
		e.Log.Warn("what the pod may change of the interface is not known, and will not be set back", "device", s.Device, "error", err)
		return
	}
	s.Traits = traits
}

// restoreTraits sets back what the pod changed of the interface, which is on the host. A driver may
// refuse what ethtool sets; the rest is the kernel's own, and must come back.
func (e *Engine) restoreTraits(s *State, link *Link) error {
	if s.Traits == nil { // of a version that did not record them
		return nil
	}
	now, err := e.Links.Traits(link.Index)
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(s.Traits.Ethtool)) {
		before := s.Traits.Ethtool[what]
		if bytes.Equal(before, now.Ethtool[what]) {
			continue
		}
		host.KillPoint()
		if err := e.Links.SetEthtool(link.Index, what, before); err != nil {
			e.Log.Warn("not set back", "device", s.Device, "field", what, "error", err)
		}
	}
	if now.sameLink(s.Traits) {
		return nil
	}
	host.KillPoint()
	return e.Links.SetTraits(link.Index, now, s.Traits)
}

// defaultTraits are how the kernel makes an interface.
func defaultTraits() *Traits { return &Traits{Flags: unix.IFF_MULTICAST, TxQLen: 1000} }
