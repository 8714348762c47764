package sriov

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// DefaultSysfs is the sysfs of the running machine.
const DefaultSysfs Sysfs = "/sys"

// Errors of a lookup, for errors.Is.
var (
	ErrNoDevice  = errors.New("there is no such device")
	ErrBadDevice = errors.New("sysfs describes the device wrongly")
)

// maxAttribute is how much of a file in sysfs is read, in bytes.
const maxAttribute = 4 << 10

// Names and port names in sysfs.
var (
	pciAddress    = pattern(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
	virtfn        = pattern(`^virtfn(\d+)$`)
	uplinkPort    = pattern(`^p\d+(s\d+)?$`)
	functionPort  = pattern(`^(c\d+)?pf\d+(vf|sf)(\d+)$`)
	vhostVDPAName = pattern(`^vhost-vdpa-\d+$`)
	virtioName    = pattern(`^virtio\d+$`)
)

// pattern compiles an expression when it is first needed: most starts of a plugin need none.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// IsPCIAddress reports whether s is a PCI address as the kernel writes it: 0000:3b:02.1.
func IsPCIAddress(s string) bool { return pciAddress().MatchString(s) }

// Sysfs is the folder in which a sysfs is mounted.
type Sysfs string

// onBus gives the folder of a device on a bus.
func (s Sysfs) onBus(bus, id string) string {
	return filepath.Join(string(s), "bus", bus, "devices", id)
}

// Device describes the device that has this PCI address, or this name on the auxiliary or the vDPA
// bus. A field for which sysfs has no file stays empty. A file with a wrong content is an error, which
// names the device and the file.
func (s Sysfs) Device(id string) (*Device, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00") || len(id) > maxFileName {
		return nil, fmt.Errorf("device %.60q: is neither a PCI address nor a name: %w", id, ErrNoDevice)
	}
	for _, bus := range []string{"pci", "auxiliary", "vdpa"} {
		path := s.onBus(bus, id)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		n := &node{sysfs: s, id: id, path: path}
		d := &Device{ID: id, Driver: n.linkName("driver"), RDMADevices: n.names("infiniband"), Netdev: n.netdev()}
		d.NUMANode = n.numaNode()
		switch bus {
		case "pci":
			n.pci(d)
		case "auxiliary":
			n.auxiliary(d)
		default:
			n.vdpa(d)
		}
		if err := types.Join(n.faults...); err != nil {
			return nil, err
		}
		return d, nil
	}
	return nil, fmt.Errorf("device %s: is on none of the buses pci, auxiliary and vdpa of %s: %w", id, s, ErrNoDevice)
}

// node reads the folder of a device, and collects the faults that it finds there.
type node struct {
	sysfs  Sysfs
	id     string // of the device that the caller asked for
	path   string
	faults []error
}

func (n *node) fault(file, problem string) {
	n.faults = append(n.faults, fmt.Errorf("device %s: %s: %s: %w", n.id, filepath.Join(n.path, file), problem, ErrBadDevice))
}

// at gives the node of another folder, for the same device: its faults name that device.
func (n *node) at(path string) *node { return &node{sysfs: n.sysfs, id: n.id, path: path} }

// pci describes a device of the PCI bus.
func (n *node) pci(d *Device) {
	d.PCIAddress = d.ID
	n.vdpaBelow(d)
	switch physfn, total := n.linkName("physfn"), n.number("sriov_totalvfs"); {
	case physfn != "":
		d.Kind = KindVF
		d.PF = n.pf(physfn)
		d.Index = n.vfIndex(physfn)
		d.Representor = n.representor(d.PF, "vf", d.Index)
	case total != nil && *total > 0:
		d.Kind = KindPF
		d.VFs = &VFCount{Total: *total}
		if now := n.number("sriov_numvfs"); now != nil {
			d.VFs.Now = *now
		}
	default:
		d.Kind = KindPCI
	}
}

// auxiliary describes a device of the auxiliary bus.
func (n *node) auxiliary(d *Device) {
	d.Kind = KindAuxiliary
	d.PCIAddress = n.pciParent()
	if sfnum := n.number("sfnum"); sfnum != nil {
		d.Kind, d.Index = KindSF, sfnum
	}
	if d.PCIAddress != "" {
		d.PF = n.pf(d.PCIAddress)
	}
	if d.Kind == KindSF {
		d.Representor = n.representor(d.PF, "sf", d.Index)
	}
}

// vdpa describes a device of the vDPA bus, with the PCI function that it belongs to.
func (n *node) vdpa(d *Device) {
	d.Kind, d.VDPA = KindVDPA, n.vdpaSide(d.ID)
	d.PCIAddress = n.pciParent()
	parent := n.at(n.sysfs.onBus("pci", d.PCIAddress))
	if d.PCIAddress == "" || parent.linkName("physfn") == "" {
		return
	}
	d.PF = parent.pf(parent.linkName("physfn"))
	d.Index = parent.vfIndex(d.PF.PCIAddress)
	d.Representor = parent.representor(d.PF, "vf", d.Index)
	n.faults = append(n.faults, parent.faults...)
}

// vdpaBelow finds the vDPA device of a PCI function.
func (n *node) vdpaBelow(d *Device) {
	for _, name := range n.names(".") {
		path := n.sysfs.onBus("vdpa", name)
		if _, err := os.Stat(path); err == nil && strings.HasPrefix(name, "vdpa") {
			d.VDPA = n.at(path).vdpaSide(name)
			return
		}
	}
}

// vdpaSide describes a vDPA device by its driver.
func (n *node) vdpaSide(name string) *VDPA {
	side := &VDPA{Name: name}
	switch n.linkName("driver") {
	case "vhost_vdpa":
		side.Driver = "vhost"
		if device := n.firstName(".", vhostVDPAName()); device != "" {
			side.Path = "/dev/" + device
		}
	case "virtio_vdpa":
		side.Driver = "virtio"
		if device := n.firstName(".", virtioName()); device != "" {
			side.Path = "/sys/bus/virtio/devices/" + device
		}
	}
	return side
}

// pciParent gives the address of the nearest PCI function above the device's folder, "" if there is none.
func (n *node) pciParent() string {
	path, err := filepath.EvalSymlinks(n.path)
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if IsPCIAddress(filepath.Base(dir)) {
			return filepath.Base(dir)
		}
	}
	return ""
}

// pf describes the PF at an address, which a link of the device named.
func (n *node) pf(address string) *PF {
	if !IsPCIAddress(address) {
		n.fault("physfn", fmt.Sprintf("leads to %.60q, which is not a PCI address", address))
	}
	pf := n.at(n.sysfs.onBus("pci", filepath.Base(address)))
	return &PF{PCIAddress: address, Netdev: pf.netdev(), Driver: pf.linkName("driver")}
}

// vfIndex gives the number of a VF: that of the PF's link virtfnN to it.
func (n *node) vfIndex(pf string) *int {
	parent := n.at(n.sysfs.onBus("pci", filepath.Base(pf)))
	own := filepath.Base(n.path)
	for _, name := range parent.names(".") {
		match := virtfn().FindStringSubmatch(name)
		if match == nil || parent.linkName(name) != own {
			continue
		}
		if index, err := strconv.Atoi(match[1]); err == nil {
			return &index
		}
	}
	n.fault("physfn", fmt.Sprintf("leads to %s, and no virtfn of that leads back", pf))
	return nil
}

// netdev gives the device's interface in this network namespace, "" if it has none there. The folder
// of a PF in switchdev mode also holds the representors of its VFs; the PF's own interface is the uplink.
func (n *node) netdev() string {
	names := n.names("net")
	for _, below := range n.names(".") {
		if virtioName().MatchString(below) && len(names) == 0 {
			names = n.names(filepath.Join(below, "net"))
		}
	}
	own := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return functionPort().MatchString(n.sysfs.portName(name)) })
	for _, name := range own {
		if uplinkPort().MatchString(n.sysfs.portName(name)) {
			return name
		}
	}
	if len(own) == 0 {
		return ""
	}
	return own[0]
}

// representor finds the representor of a VF ("vf") or a subfunction ("sf") among the interfaces in its
// PF's folder. The port name of a representor for another host begins with its controller: c1pf0vf3.
func (n *node) representor(pf *PF, kind string, index *int) string {
	if pf == nil || index == nil {
		return ""
	}
	for _, name := range n.at(n.sysfs.onBus("pci", filepath.Base(pf.PCIAddress))).names("net") {
		match := functionPort().FindStringSubmatch(n.sysfs.portName(name))
		if len(match) == 4 && match[1] == "" && match[2] == kind && match[3] == strconv.Itoa(*index) {
			return name
		}
	}
	return ""
}

// portName reads an interface's phys_port_name; it gives "" if the driver has none.
func (s Sysfs) portName(netdev string) string {
	text, _ := readAttribute(filepath.Join(string(s), "class", "net", netdev, "phys_port_name"))
	return text
}

// numaNode gives the device's NUMA node, nil if the file is missing or holds -1, for none.
func (n *node) numaNode() *int {
	text, err := readAttribute(filepath.Join(n.path, "numa_node"))
	if err != nil {
		return nil
	}
	node, err := strconv.Atoi(text)
	if err != nil {
		n.fault("numa_node", fmt.Sprintf("holds %.20q, not a number", text))
	}
	if err != nil || node < 0 {
		return nil
	}
	return &node
}

// number reads a count; it gives nil if there is no such file.
func (n *node) number(file string) *int {
	text, err := readAttribute(filepath.Join(n.path, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	value, parseErr := strconv.ParseUint(text, 10, 31)
	if err != nil || parseErr != nil {
		n.fault(file, fmt.Sprintf("holds %.20q, not a number", text))
		return nil
	}
	count := int(value)
	return &count
}

// linkName gives the last element of a link's target, "" if there is no such link.
func (n *node) linkName(file string) string {
	target, err := os.Readlink(filepath.Join(n.path, file))
	if errors.Is(err, unix.EINVAL) {
		n.fault(file, "is not a link")
	}
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// names lists a folder below the device's, sorted. A folder that cannot be read has no names.
func (n *node) names(folder string) []string {
	entries, err := os.ReadDir(filepath.Join(n.path, folder))
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// firstName gives the first name in a folder that matches, "" if none does.
func (n *node) firstName(folder string, pattern *regexp.Regexp) string {
	for _, name := range n.names(folder) {
		if pattern.MatchString(name) {
			return name
		}
	}
	return ""
}

// readAttribute reads the value in a file, without white space around it.
func readAttribute(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxAttribute))
	return strings.TrimSpace(string(data)), err
}
