package vf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
)

const (
	dev   = "0000:01:10.0"
	nsA   = "/run/netns/a"
	nsB   = "/run/netns/b"
	oldIf = "pf0v0"
)

// machine stands for hardware and kernel: one PF, with one VF. Every change is noted, and
// can be made to fail.
type machine struct {
	device     *sriov.Device
	settings   *sriov.VFSettings
	traits     Traits
	mtu        int    // of the PF; none is an error
	link       *Link  // nil with a driver of user space
	ns         string // where it is
	namespaces map[string]uint64
	cookies    map[string]uint64 // by path; none on an old kernel
	mountNS    uint64
	hidden     bool
	addresses  map[string]bool // that the IPAM plugin has given, by container
	notes      []string
	prepared   string           // the interface that was prepared, and whether it was up
	traitless  error            // what Traits fails with
	unprepared error            // what Prepare fails with
	failAt     int              // number of the change that fails, from 1
	failure    error            // what it fails with
	udev       string           // the name that a real udev has for the interface
	taken      map[string]bool  // names that other interfaces have, by namespace and name
	afterNames func()           // called after an alternative name was removed, once
	busy       map[string]error // changes that always fail
	lost       bool             // the interface is in no namespace
	deviceErr  error            // why sysfs cannot be read
	readFaults []error          // of the PF's next reads
	ipam       *current.Result
	ipamConfig string // of the IPAM plugin's last call
}

var errBroken = errors.New("broken")

func newMachine() *machine {
	on, off, index := true, false, 0
	return &machine{
		device:     &sriov.Device{ID: dev, Kind: sriov.KindVF, PCIAddress: dev, Driver: "igbvf", Netdev: oldIf, PF: &sriov.PF{PCIAddress: "0000:01:00.0", Netdev: "pf0", Driver: "igb"}, Index: &index},
		settings:   &sriov.VFSettings{MAC: "7a:00:00:00:00:01", VLANProto: sriov.Proto8021Q, SpoofChk: &on, Trust: &off, LinkState: "auto"},
		link:       &Link{Index: 9, Name: oldIf, MAC: "7a:00:00:00:00:01", MTU: 1500, Up: true},
		traits:     Traits{Flags: unix.IFF_MULTICAST, TxQLen: 1000, Ethtool: map[string][]byte{"offloads": {1}, "rings": {2}}},
		namespaces: map[string]uint64{nsA: 100, nsB: 101}, addresses: map[string]bool{}, failure: errBroken,
		ipam: &current.Result{CNIVersion: "1.0.0", IPs: []*current.IPConfig{{Address: mustCIDR("10.0.0.2/24")}}},
	}
}

// view is how things are, to compare.
type view struct {
	Settings  sriov.VFSettings
	Link      Link
	Traits    Traits
	NS        string
	Addresses map[string]bool
}

func (m *machine) view() view {
	v := view{Settings: *m.settings.Clone(), Traits: m.traits, NS: m.ns, Addresses: maps.Clone(m.addresses)}
	v.Traits.Ethtool = maps.Clone(m.traits.Ethtool)
	if m.link != nil {
		v.Link = *m.link
		v.Link.AltNames = slices.Clone(m.link.AltNames)
	}
	return v
}

// change notes a change, and fails if it is to.
func (m *machine) change(format string, args ...any) error {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
	if len(m.notes) == m.failAt {
		return m.failure
	}
	return m.busy[m.notes[len(m.notes)-1]]
}

func (m *machine) Device(id string) (*sriov.Device, error) {
	if m.deviceErr != nil {
		return nil, m.deviceErr
	}
	if m.device == nil || id != m.device.ID {
		return nil, fmt.Errorf("device %s: %w", id, sriov.ErrNoDevice)
	}
	return m.device, nil
}

func (m *machine) Read(string, int) (*sriov.VFSettings, error) {
	if len(m.readFaults) > 0 {
		fault := m.readFaults[0]
		m.readFaults = m.readFaults[1:]
		return nil, fault
	}
	return m.settings.Clone(), nil
}

func (m *machine) MTU(netdev string) (int, error) {
	if m.mtu == 0 {
		return 0, fmt.Errorf("PF %s: %w", netdev, errBroken)
	}
	return m.mtu, nil
}

func (m *machine) SetMAC(_ string, _ int, mac string) error {
	err := m.change("PF mac %s", mac)
	if err == nil {
		m.settings.MAC = mac
	}
	return err
}

func (m *machine) SetVLAN(_ string, _ int, s *sriov.VFSettings) error {
	err := m.change("vlan %d", s.VLAN)
	if err == nil {
		m.settings.VLAN, m.settings.QoS, m.settings.VLANProto = s.VLAN, s.QoS, s.VLANProto
	}
	return err
}

func (m *machine) SetRate(_ string, _ int, minimum, maximum uint32) error {
	err := m.change("rate %d %d", minimum, maximum)
	if err == nil {
		m.settings.MinTxRate, m.settings.MaxTxRate = minimum, maximum
	}
	return err
}

func (m *machine) SetSpoofChk(_ string, _ int, on bool) error {
	err := m.change("spoofchk %v", on)
	if err == nil {
		m.settings.SpoofChk = &on
	}
	return err
}

func (m *machine) SetTrust(_ string, _ int, on bool) error {
	err := m.change("trust %v", on)
	if err == nil {
		m.settings.Trust = &on
	}
	return err
}

func (m *machine) SetLinkState(_ string, _ int, state string) error {
	return errors.Join(m.change("link_state %s", state), unix.EOPNOTSUPP)
}

func (m *machine) SetGUIDs(string, int, string, string) error { return unix.EOPNOTSUPP }

// links is the same machine by the methods that have the same names for interfaces.
type links struct{ *machine }

func (l links) Namespace(path string) (host.NetNSID, bool) {
	inode, ok := l.namespaces[path]
	return host.NetNSID{Inode: inode, Cookie: l.cookies[path]}, ok
}

func (l links) MountNS() uint64 { return l.mountNS }

func (l links) Hidden(path string, _ host.NetNSID, mountNS uint64) bool {
	return l.hidden && (mountNS == l.mountNS || mountNS == 0 && path != "")
}

func (l links) Find(ns, device string) (*Link, error) {
	if l.link == nil || l.lost || l.ns != ns || device != dev {
		return nil, nil
	}
	found := *l.link
	found.AltNames = slices.Clone(found.AltNames)
	return &found, nil
}

func (l links) Search(device string) (string, *Link, error) {
	link, err := l.Find(l.ns, device)
	return l.ns, link, err
}

func (l links) Exists(ns, name string) (bool, error) {
	return name == "lo" || l.taken[ns+" "+name] || l.link != nil && l.ns == ns && l.link.hasName(name), nil
}

func (l links) at(ns string, index int) error {
	if l.link == nil || l.ns != ns || l.link.Index != index {
		return fmt.Errorf("no interface %d in %q", index, ns)
	}
	return nil
}

func (l links) Rename(ns string, index int, name string) error {
	err := errors.Join(l.at(ns, index), l.change("rename %s", name))
	if l.link.Up {
		err = errors.Join(err, unix.EBUSY)
	}
	if exists, _ := l.Exists(ns, name); err == nil && exists && l.link.Name != name {
		err = unix.EEXIST
	}
	if err == nil {
		l.link.Name = name
		l.nameByUdev()
	}
	return err
}

// nameByUdev does what udev does when an interface comes to the host, or is renamed there: it gives
// it its own name for it, as an alternative one.
func (l links) nameByUdev() {
	if l.udev != "" && l.ns == "" && !l.link.hasName(l.udev) {
		l.link.AltNames = append(l.link.AltNames, l.udev)
	}
}

func (l links) AddAltName(ns string, index int, name string) error {
	err := errors.Join(l.at(ns, index), l.change("add name %s", name))
	if exists, _ := l.Exists(ns, name); err == nil && exists {
		err = unix.EEXIST
	}
	if err == nil {
		l.link.AltNames = append(l.link.AltNames, name)
	}
	return err
}

func (l links) RemoveAltName(ns string, index int, name string) error {
	err := errors.Join(l.at(ns, index), l.change("remove name %s", name))
	if !slices.Contains(l.link.AltNames, name) {
		err = errors.Join(err, unix.ENOENT)
	}
	if err == nil {
		l.link.AltNames = slices.DeleteFunc(l.link.AltNames, func(n string) bool { return n == name })
		if len(l.link.AltNames) == 0 {
			l.link.AltNames = nil
		}
		if after := l.afterNames; after != nil {
			l.afterNames = nil
			after()
		}
	}
	return err
}

func (l links) Move(ns string, index int, to string) error {
	err := errors.Join(l.at(ns, index), l.change("move %q", to))
	for _, name := range append([]string{l.link.Name}, l.link.AltNames...) {
		if exists, _ := l.Exists(to, name); exists {
			err = errors.Join(err, unix.EEXIST)
		}
	}
	if err == nil {
		l.ns, l.link.Up = to, false
		l.link.Index++ // as where its number is taken
		l.nameByUdev()
	}
	return err
}

func (l links) SetUp(ns string, index int, up bool) error {
	err := errors.Join(l.at(ns, index), l.change("up %v", up))
	if err == nil {
		l.link.Up = up
	}
	return err
}

func (l links) SetMAC(ns string, index int, mac string) error {
	err := errors.Join(l.at(ns, index), l.change("mac %s", mac))
	if err == nil {
		l.link.MAC, l.settings.MAC = mac, mac
	}
	return err
}

func (l links) SetMTU(ns string, index, mtu int) error {
	err := errors.Join(l.at(ns, index), l.change("mtu %d", mtu))
	if err == nil {
		l.link.MTU = mtu
	}
	return err
}

func (l links) Traits(index int) (*Traits, error) {
	traits := l.view().Traits
	return &traits, errors.Join(l.at("", index), l.traitless)
}

func (l links) SetTraits(index int, _, want *Traits) error {
	err := errors.Join(l.at("", index), l.change("traits"))
	if err == nil {
		ethtool := l.traits.Ethtool
		l.traits = *want
		l.traits.Ethtool = ethtool
	}
	return err
}

func (l links) SetEthtool(index int, what string, value []byte) error {
	err := errors.Join(l.at("", index), l.change("ethtool %s", what))
	if err == nil {
		l.traits.Ethtool[what] = value
	}
	return err
}

func (l links) Prepare(ns, name string) error {
	l.prepared = fmt.Sprintf("%s in %s, up %v", name, ns, l.link.Up)
	return errors.Join(l.unprepared, l.at(ns, l.link.Index))
}

func (l links) Configure(_ context.Context, ns string, link *Link, result *current.Result) error {
	return errors.Join(l.at(ns, link.Index), l.change("configure %s", &result.IPs[0].Address))
}

func (l links) Verify(string, *Link, *current.Result) error { return nil }

func (l links) Announce(context.Context, string, *Link, *current.Result) error {
	_ = l.change("announce")
	return errors.New("no carrier")
}

// fakeIPAM is invoke.Exec for the IPAM plugin "ipam".
type fakeIPAM struct {
	version.PluginDecoder
	m *machine
}

func (*fakeIPAM) FindInPath(plugin string, _ []string) (string, error) {
	if plugin != "ipam" {
		return "", errors.New("there is no plugin " + plugin)
	}
	return "/ipam", nil
}

func (x *fakeIPAM) ExecPlugin(_ context.Context, _ string, config []byte, environ []string) ([]byte, error) {
	env := map[string]string{}
	for _, variable := range environ {
		key, value, _ := strings.Cut(variable, "=")
		env[key] = value
	}
	x.m.ipamConfig = string(config)
	container := env["CNI_CONTAINERID"]
	if err := x.m.change("ipam %s %s", env["CNI_COMMAND"], container); err != nil {
		return nil, err
	}
	switch env["CNI_COMMAND"] {
	case "ADD":
		x.m.addresses[container] = true
		var out strings.Builder
		err := x.m.ipam.PrintTo(&out)
		return []byte(out.String()), err
	case "DEL":
		delete(x.m.addresses, container)
	}
	return nil, nil
}

var _ invoke.Exec = (*fakeIPAM)(nil)

// engine gives an engine on the machine, with a store of the test.
func (m *machine) engine(t *testing.T) *Engine {
	t.Helper()
	return &Engine{
		Store: Store{Dir: filepath.Join(t.TempDir(), "state")}, Devices: m, PF: m, Links: links{m}, Exec: &fakeIPAM{m: m},
		BootID: "boot", SRIOVCNI: filepath.Join(t.TempDir(), "sriov"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const all = `{"cniVersion":"1.1.0","name":"n","deviceID":"` + dev + `","mac":"02:00:00:00:00:01","vlan":100,"trust":"on","spoofchk":"off","max_tx_rate":50,"ipam":{"type":"ipam"}}`

func inA() Call { return Call{ContainerID: "c1", NetNS: nsA, IfName: "net0"} }
func inB() Call { return Call{ContainerID: "c2", NetNS: nsB, IfName: "net0"} }

func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// states gives the files of states.
func states(t *testing.T, e *Engine) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.Store.Dir, "*.json*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}
