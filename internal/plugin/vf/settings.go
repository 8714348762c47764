package vf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// noMAC is what a PF keeps of a VF whose MAC nobody has set.
const noMAC = "00:00:00:00:00:00"

// setting is one thing that a PF keeps of a VF, but for the MAC, which has another side
// in the VF's own interface.
type setting struct {
	field string // in the configuration
	asked func(*Settings) bool
	put   func(*Settings, *sriov.VFSettings) // what is asked for onto what there is
	value func(*sriov.VFSettings) string     // for messages, and to compare; "" if the driver does not report it
	set   func(PF, string, int, *sriov.VFSettings) error
}

// settings are in the order of setting them.
var settings = []setting{vlanSetting, rateSetting, spoofSetting, trustSetting, linkStateSetting, guidSetting}

var vlanSetting = setting{
	field: "vlan",
	asked: func(w *Settings) bool { return w.VLAN != nil },
	put: func(w *Settings, s *sriov.VFSettings) {
		s.VLAN, s.QoS, s.VLANProto = value(w.VLAN), value(w.QoS), w.VLANProto
		if s.VLANProto == "" {
			s.VLANProto = sriov.Proto8021Q
		}
	},
	value: func(s *sriov.VFSettings) string {
		return fmt.Sprintf("%d, priority %d, %s", s.VLAN, s.QoS, s.VLANProto)
	},
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error { return p.SetVLAN(netdev, vf, s) },
}

var rateSetting = setting{
	field: "min_tx_rate and max_tx_rate",
	asked: func(w *Settings) bool { return w.MinTxRate != nil || w.MaxTxRate != nil },
	put: func(w *Settings, s *sriov.VFSettings) {
		if w.MinTxRate != nil {
			s.MinTxRate = *w.MinTxRate
		}
		if w.MaxTxRate != nil {
			s.MaxTxRate = *w.MaxTxRate
		}
	},
	value: func(s *sriov.VFSettings) string { return fmt.Sprintf("%d and %d Mbit/s", s.MinTxRate, s.MaxTxRate) },
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error {
		err := p.SetRate(netdev, vf, s.MinTxRate, s.MaxTxRate)
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w (many drivers refuse a rate while the PF has no link, a minimum at all, or more than the link's speed)", err)
		}
		return err
	},
}

var spoofSetting = setting{
	field: "spoofchk",
	asked: func(w *Settings) bool { return w.SpoofChk != nil },
	put:   func(w *Settings, s *sriov.VFSettings) { s.SpoofChk = w.SpoofChk },
	value: func(s *sriov.VFSettings) string { return onOff(s.SpoofChk) },
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error {
		return p.SetSpoofChk(netdev, vf, value(s.SpoofChk))
	},
}

var trustSetting = setting{
	field: "trust",
	asked: func(w *Settings) bool { return w.Trust != nil },
	put:   func(w *Settings, s *sriov.VFSettings) { s.Trust = w.Trust },
	value: func(s *sriov.VFSettings) string { return onOff(s.Trust) },
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error {
		return p.SetTrust(netdev, vf, value(s.Trust))
	},
}

var linkStateSetting = setting{
	field: "link_state",
	asked: func(w *Settings) bool { return w.LinkState != "" },
	put:   func(w *Settings, s *sriov.VFSettings) { s.LinkState = w.LinkState },
	value: func(s *sriov.VFSettings) string { return s.LinkState },
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error {
		return p.SetLinkState(netdev, vf, s.LinkState)
	},
}

var guidSetting = setting{
	field: "infinibandGUID",
	asked: func(w *Settings) bool { return w.GUID != "" },
	put:   func(w *Settings, s *sriov.VFSettings) { s.NodeGUID, s.PortGUID = w.GUID, w.GUID },
	value: func(s *sriov.VFSettings) string {
		if s.NodeGUID == "" {
			return ""
		}
		return s.NodeGUID + " and " + s.PortGUID
	},
	set: func(p PF, netdev string, vf int, s *sriov.VFSettings) error {
		return p.SetGUIDs(netdev, vf, s.NodeGUID, s.PortGUID)
	},
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func onOff(on *bool) string {
	switch {
	case on == nil:
		return ""
	case *on:
		return "on"
	}
	return "off"
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown to its driver"
	}
	return text
}

// wanted is how a setting is to be, given how things are.
func (f *setting) wanted(w *Settings, now *sriov.VFSettings) *sriov.VFSettings {
	wanted := now.Clone()
	f.put(w, wanted)
	return wanted
}

// apply sets what the configuration asks for and is not so already.
func (e *Engine) apply(ctx context.Context, s *State) error {
	for _, f := range settings {
		if !f.asked(&s.Want) {
			continue
		}
		wanted := f.wanted(&s.Want, s.Before)
		if f.value(wanted) == f.value(s.Before) {
			continue
		}
		host.KillPoint()
		if err := e.set(ctx, &f, s.PF.Netdev, s.VFIndex, wanted); err != nil {
			return fmt.Errorf("%s: %s: set to %s, was %s: %w", s.whereabouts(), f.field, f.value(wanted), orUnknown(f.value(s.Before)), explain(err))
		}
	}
	return nil
}

// refusals are how drivers say that they cannot do a thing at all. igb answers 802.1ad with
// EPROTONOSUPPORT; some let the kernel's own number out, which is none of the C library's.
var refusals = []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.ENOSYS, kernelENOTSUPP}

const kernelENOTSUPP = unix.Errno(524)

// explain adds what the number of a refusal means here.
func explain(err error) error {
	if slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(err, refusal) }) {
		return fmt.Errorf("the PF's driver does not support it: %w", err)
	}
	return err
}

// restoreSettings sets back whatever is not as it was. What the pod's network asked for
// must come back; of the rest, the driver may refuse what it likes.
func (e *Engine) restoreSettings(ctx context.Context, s *State, netdev string, vf int) error {
	if s.Before == nil || netdev == "" {
		return nil
	}
	now, err := e.readPF(ctx, netdev, vf)
	if err != nil {
		return fmt.Errorf("%s: %w", s.whereabouts(), err)
	}
	var faults []error
	for _, f := range settings {
		before, asked := f.value(s.Before), f.asked(&s.Want)
		if before != "" && before == f.value(now) || before == "" && !asked {
			continue // what was set and the driver never tells is not known to be back
		}
		host.KillPoint()
		err := e.set(ctx, &f, netdev, vf, f.known(s.Before))
		switch {
		case err == nil:
		case asked && before != "":
			faults = append(faults, fmt.Errorf("%s: %s: set back to %s, is %s: %w", s.whereabouts(), f.field, before, orUnknown(f.value(now)), explain(err)))
		default:
			e.Log.Warn("not set back", "device", s.Device, "field", f.field, "was", before, "is", f.value(now), "error", err)
		}
	}
	return types.Join(faults...)
}

// known gives settings to go back to, with the default where the driver did not tell.
func (f *setting) known(before *sriov.VFSettings) *sriov.VFSettings {
	if f.value(before) != "" {
		return before
	}
	return defaults()
}

// defaults is how the kernel's drivers make a VF.
func defaults() *sriov.VFSettings {
	on, off := true, false
	const noGUID = "00:00:00:00:00:00:00:00"
	return &sriov.VFSettings{
		MAC: noMAC, VLANProto: sriov.Proto8021Q, SpoofChk: &on, Trust: &off, LinkState: "auto", NodeGUID: noGUID, PortGUID: noGUID,
	}
}

// differences gives the settings that are not as the network asks.
func differences(w *Settings, now *sriov.VFSettings) []error {
	var faults []error
	for _, f := range settings {
		if !f.asked(w) {
			continue
		}
		if wanted := f.value(f.wanted(w, now)); wanted != f.value(now) {
			faults = append(faults, fmt.Errorf("%s: is %s, not %s", f.field, orUnknown(f.value(now)), wanted))
		}
	}
	if w.MAC != "" && !sameMAC(w.MAC, now.MAC) {
		faults = append(faults, fmt.Errorf("mac: the PF keeps %s, not %s", now.MAC, w.MAC))
	}
	return faults
}

func sameMAC(a, b string) bool {
	first, err := net.ParseMAC(a)
	second, err2 := net.ParseMAC(b)
	return err == nil && err2 == nil && first.String() == second.String()
}
