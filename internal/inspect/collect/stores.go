//go:build linux

package collect

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/inspect"
)

// hostLocalDir is where host-local keeps addresses unless its configuration names another folder.
const hostLocalDir = "/var/lib/cni/networks"

// ipamConf is what host-local reads of the configuration of a plugin.
type ipamConf struct {
	Type    string `json:"type"`
	DataDir string `json:"dataDir"`
	addressRange
	Ranges [][]addressRange `json:"ranges"`
}

type addressRange struct {
	Subnet  string `json:"subnet"`
	Start   string `json:"rangeStart"`
	End     string `json:"rangeEnd"`
	Gateway string `json:"gateway"`
}

// readStores reads host-local's folders: the usual one, and those that configurations name.
func (c *collector) readStores(files []confdir.File) {
	ranges := map[string][]addressRange{} // by folder
	dirs := []string{hostLocalDir}
	for _, config := range c.configs(files) {
		name, ipam := hostLocalOf(config)
		if ipam == nil {
			continue
		}
		dir := hostLocalDir
		if ipam.DataDir != "" {
			dir = ipam.DataDir
			dirs = append(dirs, dir)
		}
		folder := filepath.Join(dir, name)
		for _, r := range ipam.all() {
			if !slices.Contains(ranges[folder], r) {
				ranges[folder] = append(ranges[folder], r)
			}
		}
	}
	slices.Sort(dirs)
	cached := c.cached()
	for _, dir := range slices.Compact(dirs) {
		if c.options.hides(dir) {
			c.snapshot.CNI.Unseen = append(c.snapshot.CNI.Unseen, dir)
			continue
		}
		entries, err := os.ReadDir(c.onHost(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.note(dir, err)
		}
		for _, entry := range entries {
			if folder := filepath.Join(dir, entry.Name()); entry.IsDir() {
				c.snapshot.CNI.Stores = append(c.snapshot.CNI.Stores, c.readStore(folder, ranges[folder], cached))
			}
		}
	}
}

// configs gives the configurations of the folder, and of the journal.
func (c *collector) configs(files []confdir.File) [][]byte {
	var configs [][]byte
	for i := range files {
		if files[i].Data != nil {
			configs = append(configs, files[i].Data)
		}
	}
	records := journal.New(c.onHost(c.options.StateDir))
	keys, _ := records.List() // an error is a note already
	for _, key := range keys {
		record, err := records.Read(key)
		if err != nil {
			continue
		}
		for i := range record.Plan.Attachments {
			configs = append(configs, []byte(record.Plan.Attachments[i].Config))
		}
	}
	return configs
}

// hostLocalOf gives the name of a configuration, and its host-local, nil if it has another IPAM.
func hostLocalOf(config []byte) (name string, ipam *ipamConf) {
	type plugin struct {
		IPAM ipamConf `json:"ipam"`
	}
	var conf struct {
		Name string `json:"name"`
		plugin
		Plugins []plugin `json:"plugins"`
	}
	_ = json.Unmarshal(config, &conf) // what can be read of it counts
	for _, p := range append(conf.Plugins, conf.plugin) {
		if p.IPAM.Type == "host-local" && conf.Name != "" {
			return conf.Name, &p.IPAM
		}
	}
	return "", nil
}

// all gives the ranges of a configuration, of both ways to write them.
func (c *ipamConf) all() []addressRange {
	all := slices.Concat(c.Ranges...)
	if c.Subnet != "" {
		all = append(all, c.addressRange)
	}
	return all
}

// cached gives the containers that libcni's caches, the runtime's and ours, have with a namespace that may be there.
func (c *collector) cached() map[string]bool {
	live := map[string]bool{}
	for _, dir := range []string{c.onHost(libcni.CacheDir), c.onHost(filepath.Dir(c.options.StateDir))} {
		if _, err := os.Stat(dir); err != nil {
			continue // libcni takes no folder for an error
		}
		attachments, err := libcni.NewCNIConfigWithCacheDir(nil, dir, nil).GetCachedAttachments("")
		if err != nil {
			c.note(dir, err)
		}
		for _, attachment := range attachments {
			if host.NetNSMayLive(attachment.NetNS, host.NetNSID{}, 0) {
				live[attachment.ContainerID] = true
			}
		}
	}
	return live
}

// readStore reads the addresses of one network: a file of each, which names the container.
func (c *collector) readStore(folder string, ranges []addressRange, cached map[string]bool) inspect.Store {
	store := inspect.Store{Dir: folder, Network: filepath.Base(folder)}
	entries, _ := os.ReadDir(c.onHost(folder))
	for _, entry := range entries {
		address, err := netip.ParseAddr(strings.ReplaceAll(entry.Name(), "_", ":")) // as on file systems without colons
		if err != nil {
			continue
		}
		path := filepath.Join(c.onHost(folder), entry.Name())
		data, err := confdir.ReadSmall(path)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil {
			continue // released meanwhile
		}
		id, ifName, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		id = strings.TrimSpace(id)
		store.Reservations = append(store.Reservations, inspect.Reservation{
			Address: address.String(), ContainerID: id, Interface: strings.TrimSpace(ifName),
			Since: info.ModTime().UTC().Truncate(time.Second), Cached: cached[id],
		})
	}
	for _, r := range ranges {
		if described, err := describeRange(r, store.Reservations); err == nil {
			store.Ranges = append(store.Ranges, described)
		}
	}
	return store
}

// describeRange works out which addresses host-local gives of a range, as it does.
func describeRange(r addressRange, reservations []inspect.Reservation) (inspect.Range, error) {
	subnet, err := netip.ParsePrefix(r.Subnet)
	if err != nil {
		return inspect.Range{}, err
	}
	first, last := subnet.Masked().Addr().Next(), lastOf(subnet)
	gateway := first
	for text, address := range map[string]*netip.Addr{r.Start: &first, r.End: &last, r.Gateway: &gateway} {
		if text == "" {
			continue
		}
		if *address, err = netip.ParseAddr(text); err != nil {
			return inspect.Range{}, err
		}
	}
	described := inspect.Range{Subnet: r.Subnet, Start: first.String(), End: last.String(), Size: count(first, last)}
	isIn := func(address netip.Addr) bool { return !address.Less(first) && !last.Less(address) }
	if described.Size > 0 && isIn(gateway) {
		described.Size-- // never given
	}
	for _, reservation := range reservations {
		if address, err := netip.ParseAddr(reservation.Address); err == nil && isIn(address) {
			described.Taken++
		}
	}
	return described, nil
}

// lastOf gives the last address of a subnet that can be given: of IPv4 not the one for broadcasts.
func lastOf(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Masked().Addr().AsSlice()
	for bit := subnet.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	if last.Is4() {
		return last.Prev()
	}
	return last
}

// maxCounted is how many addresses are counted: nobody fills more.
const maxCounted = 1 << 24

// count gives how many addresses there are from one to another, 0 for more than maxCounted.
func count(first, last netip.Addr) int {
	if first.BitLen() != last.BitLen() || last.Less(first) {
		return 0
	}
	a, b := first.As16(), last.As16()
	if [12]byte(a[:12]) != [12]byte(b[:12]) {
		return 0
	}
	low := func(x [16]byte) int { return int(x[12])<<24 | int(x[13])<<16 | int(x[14])<<8 | int(x[15]) }
	if n := low(b) - low(a) + 1; n <= maxCounted {
		return n
	}
	return 0
}
