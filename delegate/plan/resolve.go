package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/types"
)

// resolve makes attachments of the wanted networks.
func (b *builder) resolve(ctx context.Context) {
	b.reserveDevices()
	number := b.Config.FirstInterfaceIndex
	for i := range b.wanted {
		if ctx.Err() != nil {
			return
		}
		w := &b.wanted[i]
		ifName := b.sandbox.IfName
		if !w.isDefault {
			ifName, number = b.interfaceName(w, number)
		}
		attachment, err := b.attachment(ctx, w, ifName)
		b.faultOf(w.label, w.ownFault(err))
		if err == nil {
			b.attachments = append(b.attachments, *attachment)
		}
	}
	b.checkInterfaces()
	b.checkDefaultRoutes()
	b.checkOneOfAKind()
}

// interfaceName is the name the pod asked for, else net<number>, with the next number. A
// custom name uses up its number, so that one element's name does not depend on another's.
// A name that is made up is never one that the runtime or another ADD has chosen.
func (b *builder) interfaceName(w *wanted, number int) (name string, next int) {
	if asked := w.askedName(); asked != "" {
		return asked, number + 1
	}
	name = fmt.Sprintf("net%d", number)
	for moved := false; b.isTaken(name) || moved && b.isAsked(name); moved = true {
		number++
		name = fmt.Sprintf("net%d", number)
	}
	return name, number + 1
}

// ownFault says that what is wrong with a network of the node's own is the node's fault.
func (w *wanted) ownFault(err error) error {
	if w.selection != nil {
		return err
	}
	return types.WithFault(types.FaultNode, err)
}

func (w *wanted) askedName() string {
	if w.selection == nil {
		return ""
	}
	return w.selection.Interface
}

// isTaken reports whether a name is the runtime's for the first interface, or that of an
// interface which the container has by another ADD.
func (b *builder) isTaken(name string) bool {
	return name == b.sandbox.IfName || b.Taken != nil && b.Taken(name)
}

// isAsked reports whether the pod asks for a name.
func (b *builder) isAsked(name string) bool {
	return slices.ContainsFunc(b.wanted, func(w wanted) bool { return w.askedName() == name })
}

func (b *builder) attachment(ctx context.Context, w *wanted, ifName string) (*types.Attachment, error) {
	if n := len(w.conf.Plugins); n > types.MaxPlugins {
		return nil, &types.FieldError{Field: "plugins", Problem: fmt.Sprintf("has %d plugins, a list may have at most %d", n, types.MaxPlugins)}
	}
	a := &types.Attachment{
		Network:        w.label,
		Name:           w.conf.Name,
		Interface:      ifName,
		Default:        w.isDefault,
		Selected:       w.selection != nil,
		Origin:         types.Origin{Field: w.origin.Field, Element: w.origin.Element, Definition: w.ref, File: w.conf.File},
		CapabilityArgs: map[string]json.RawMessage{},
		ResourceName:   w.resourceName,
	}
	b.runtimeArgs(w, a)
	runnable := b.checkExecutables(w)
	if runnable == nil { // what may not run is not asked either
		runnable = b.settleVersion(ctx, w)
	}
	faults := []error{
		runnable,
		b.takeDevice(w, a),
		b.selectionArgs(w, a),
		b.deviceArgs(w, a),
		b.encode(w, a),
		b.checkCacheName(a),
	}
	return a, types.Join(faults...)
}

// runtimeArgs hands the runtime's own runtimeConfig to the default network, and to
// no other (section 7.5), as far as its plugins declare it.
func (b *builder) runtimeArgs(w *wanted, a *types.Attachment) {
	if !w.isDefault {
		return
	}
	for capability, value := range b.Config.RuntimeConfig {
		if w.conf.HasCapability(capability) {
			a.CapabilityArgs[capability] = value
		}
	}
}

// selectionArgs hands over what the pod asks of this attachment. What no plugin of the network
// declares would be lost in silence, so it is an error, but for addresses: whether the attachment
// has them shows when it is made.
func (b *builder) selectionArgs(w *wanted, a *types.Attachment) error {
	s := w.selection
	if s == nil {
		return nil
	}
	a.Gateways, a.IPs, a.MAC = s.DefaultRoute, s.IPs, s.MAC
	a.Args = addressArgs(w)
	faults := []error{
		offer(w, a, request{"ips", "ips", len(s.IPs) > 0, s.IPs}),
		offer(w, a, request{"mac", "mac", s.MAC != "", s.MAC}),
		require(w, a, request{"infiniband-guid", "infinibandGUID", s.InfinibandGUID != "", s.InfinibandGUID}),
		require(w, a, request{"portMappings", "portMappings", len(s.PortMappings) > 0, s.PortMappings}),
		require(w, a, request{"bandwidth", "bandwidth", s.Bandwidth != nil, s.Bandwidth}),
		offer(w, a, request{"ipam-claim-reference", "ipam-claim-reference", s.IPAMClaim != "", s.IPAMClaim}),
	}
	if len(s.CNIArgs) > 0 {
		faults = append(faults, w.conf.MergeCNIArgs(s.CNIArgs))
	}
	return types.Join(faults...)
}

// addressArgs gives the addresses that the pod asks for as CNI_ARGS, as Multus hands them over
// whether or not a capability is declared: some plugins look for them nowhere else. The values
// are addresses, as the annotation's reader has checked: no other argument hides in them.
func addressArgs(w *wanted) [][2]string {
	var args [][2]string
	if w.selection.MAC != "" {
		args = append(args, [2]string{"MAC", w.selection.MAC})
	}
	if n := len(w.selection.IPs); n == 1 || n > 1 && readsList(w.conf) {
		args = append(args, [2]string{"IP", strings.Join(w.selection.IPs, ",")})
	}
	return args
}

// readsList reports whether several addresses go into one IP=. host-local refuses that, and so may
// others that take them by the capability. whereabouts knows no capability.
func readsList(conf *types.NetConf) bool {
	switch {
	case conf.Runs("host-local"):
		return false
	case conf.Runs("whereabouts"):
		return true
	default:
		return !conf.HasCapability("ips")
	}
}

// request is one thing that a pod asks of an attachment.
type request struct {
	key        string // in the annotation
	capability string // in the configuration and in runtimeConfig
	given      bool
	value      any
}

// require hands a request over, or says that no plugin takes it.
func require(w *wanted, a *types.Attachment, r request) error {
	if r.given && !w.conf.HasCapability(r.capability) {
		return &AskedError{Key: r.key, Capability: r.capability, Problem: fmt.Sprintf("the pod asks for it, but no plugin of the network declares the capability %q", r.capability)}
	}
	return offer(w, a, r)
}

// offer hands a request over if a plugin takes it.
func offer(w *wanted, a *types.Attachment, r request) error {
	if !r.given || !w.conf.HasCapability(r.capability) {
		return nil
	}
	value, err := json.Marshal(r.value)
	if err != nil {
		return fmt.Errorf("%s: %w", r.key, err)
	}
	a.CapabilityArgs[r.capability] = value
	return nil
}

// takeDevice gives the attachment its device: the one that the annotation names, else
// the next one of its resource.
func (b *builder) takeDevice(w *wanted, a *types.Attachment) error {
	request, err := w.deviceRequest()
	if err != nil {
		return err
	}
	device, err := b.devices.take(w, request)
	if device.Resource != "" {
		a.ResourceName = device.Resource // of one that is named, whatever the network's resource is
	}
	a.DeviceID, a.Claimed = device.ID, b.devices.claimed[device]
	return err
}

// deviceArgs puts the device where the plugins of Multus's users look for it: in
// every plugin's configuration, and in runtimeConfig where it is declared.
func (b *builder) deviceArgs(w *wanted, a *types.Attachment) error {
	if b.DeviceInfoPath != nil && (a.DeviceID != "" || w.conf.HasCapability("CNIDeviceInfoFile")) {
		a.DeviceInfoFile = b.DeviceInfoPath(a.Network, b.sandbox.ContainerID, a.Interface)
	}
	if a.DeviceID != "" {
		id, err := json.Marshal(a.DeviceID)
		if err != nil {
			return err
		}
		w.conf.SetInEveryPlugin("deviceID", id)
		w.conf.SetInEveryPlugin("pciBusID", id)
	}
	return types.Join(
		offer(w, a, request{"deviceID", "deviceID", a.DeviceID != "", a.DeviceID}),
		offer(w, a, request{"CNIDeviceInfoFile", "CNIDeviceInfoFile", a.DeviceInfoFile != "", a.DeviceInfoFile}),
	)
}

// settleVersion gives the list its version, and that of what its first plugin is to follow.
func (b *builder) settleVersion(ctx context.Context, w *wanted) error {
	err := b.SettleVersion(ctx, w.conf)
	if err != nil || !w.chained {
		return err
	}
	return w.conf.SetPrevResult(types.EmptyResult{CNIVersion: w.conf.Version()})
}

// encode fixes the bytes of the configuration list, and lets libcni, which will read
// them, be the judge of them.
func (b *builder) encode(w *wanted, a *types.Attachment) error {
	if !w.chained {
		w.conf.DropPrevResult()
	}
	data, err := w.conf.Bytes()
	if err != nil {
		return err
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return err
	}
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return &types.FieldError{Field: "name", Problem: fmt.Sprintf("%q is not a letter or digit and then letters, digits, '_', '.' and '-', as CNI wants a network's name", list.Name)}
	}
	if known := version.All.SupportedVersions(); list.CNIVersion != "" && !slices.Contains(known, list.CNIVersion) {
		return &types.FieldError{Field: "cniVersion", Problem: fmt.Sprintf("%q is not one of %s", list.CNIVersion, strings.Join(known, ", "))}
	}
	a.Config = string(data)
	return nil
}

// checkInterfaces refuses a name that two attachments want, or that is the runtime's.
func (b *builder) checkInterfaces() {
	owner := map[string]string{}
	for _, a := range b.attachments {
		if err := types.CheckInterfaceName(a.Interface); err != nil {
			b.faultOf(a.Network, err)
		}
		if other, taken := owner[a.Interface]; taken {
			b.faultOf(a.Network, &AskedError{Key: "interface", Problem: fmt.Sprintf("%q is taken by network %s", a.Interface, other)})
			continue
		}
		owner[a.Interface] = a.Network
	}
}

// checkDefaultRoutes holds the rule of one default-route over both annotations.
func (b *builder) checkDefaultRoutes() {
	owner := ""
	for _, a := range b.attachments {
		if len(a.Gateways) == 0 {
			continue
		}
		if owner == "" {
			owner = a.Network
			continue
		}
		b.faultOf(a.Network, &AskedError{Key: "default-route", Problem: fmt.Sprintf("network %s asks for it already, only one may", owner)})
	}
}

// onePerSandbox are plugins that keep one state for each sandbox: a second attachment
// of them would break the first.
var onePerSandbox = []string{"calico", "flannel"}

func (b *builder) checkOneOfAKind() {
	for _, kind := range onePerSandbox {
		first := ""
		for i := range b.wanted {
			w := &b.wanted[i]
			if !slices.ContainsFunc(w.conf.Plugins, func(p types.PluginConf) bool { return p.Type == kind }) {
				continue
			}
			if first == "" {
				first = w.label
				continue
			}
			b.faultOf(w.label, fmt.Errorf("type: a second %s attachment in one pod would break that of network %s", kind, first))
		}
	}
}
