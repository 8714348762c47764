package types

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"
)

// ClaimPart is the part of a ResourceClaim's status that is written at once: one device. So what is
// refused of one, or another program writes of it, keeps nothing from the others, and two pods that
// share a claim do not write over each other.
type ClaimPart struct{ Namespace, Claim, Driver, Pool, Device, ShareID string }

// String names the part for logs and errors.
func (p ClaimPart) String() string {
	return p.Namespace + "/" + p.Claim + " (device " + p.Device + " of pool " + p.Pool + ", driver " + p.Driver + ")"
}

// ClaimStatus is what the status of a ResourceClaim says of a device that a pod has.
type ClaimStatus struct {
	Part      ClaimPart
	Pod       string
	Interface string
	IPs       []string // in CIDR notation
	MAC       string
	Attached  time.Time // when the record was made
}

// MaxClaimIPs is how many addresses of a device the API takes.
const MaxClaimIPs = 16

// ClaimParts gives the parts of claims that a record names, whatever became of its sandbox.
func (r *Record) ClaimParts() []ClaimPart {
	var parts []ClaimPart
	for i := range r.Plan.Attachments {
		if c := r.Plan.Attachments[i].Claimed; c != nil && r.Plan.Pod.Known() {
			parts = append(parts, r.part(c))
		}
	}
	return parts
}

func (r *Record) part(c *ClaimedDevice) ClaimPart {
	return ClaimPart{r.Plan.Pod.Namespace, c.Claim, c.Driver, c.Pool, c.Name, c.ShareID}
}

// ClaimStatuses gives what claims are to say of the devices of the record's sandbox: nothing
// unless the sandbox is of this boot, complete, and nothing of it is released.
func (r *Record) ClaimStatuses(bootID string) []ClaimStatus {
	released := slices.ContainsFunc(r.Progress, func(p Progress) bool { return p.Released })
	if !r.Complete || r.BootID != bootID || released || !r.Plan.Pod.Known() {
		return nil
	}
	var all []ClaimStatus
	for i := range r.Plan.Attachments {
		a := &r.Plan.Attachments[i]
		if a.Claimed == nil {
			continue
		}
		status := ClaimStatus{Part: r.part(a.Claimed), Pod: r.Plan.Pod.String(), Interface: a.Interface, Attached: r.Created}
		status.MAC, status.IPs = addressesIn(r.Progress[i].Result, a.Interface)
		all = append(all, status)
	}
	return all
}

// cniResult is the part of a CNI result, of any version, that names addresses.
type cniResult struct {
	Interfaces []struct {
		Name    string `json:"name"`
		MAC     string `json:"mac"`
		Sandbox string `json:"sandbox"`
	} `json:"interfaces"`
	IPs []struct {
		Address   string `json:"address"`
		Interface *int   `json:"interface"`
	} `json:"ips"`
	IP4 struct{ IP string } `json:"ip4"` // before version 0.3.0
	IP6 struct{ IP string } `json:"ip6"`
}

// addressesIn gives the hardware address and the IP addresses of an interface of the sandbox. An
// address that names no interface is of the attachment's only one.
func addressesIn(result json.RawMessage, name string) (mac string, ips []string) {
	var r cniResult
	if json.Unmarshal(result, &r) != nil {
		return "", nil
	}
	index := -1
	for i, iface := range r.Interfaces {
		if iface.Sandbox != "" && iface.Name == name {
			index, mac = i, iface.MAC
		}
	}
	texts := []string{r.IP4.IP, r.IP6.IP}
	for _, ip := range r.IPs {
		if ip.Interface == nil || *ip.Interface == index {
			texts = append(texts, ip.Address)
		}
	}
	return mac, interfaceAddresses(texts)
}

// interfaceAddresses gives addresses in the form that the API demands: canonical, each once.
func interfaceAddresses(texts []string) []string {
	var all []string
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			continue
		}
		if address := prefix.Addr(); address.Is4In6() {
			prefix = netip.PrefixFrom(address.Unmap(), max(prefix.Bits()-96, 0))
		}
		if text = prefix.String(); !slices.Contains(all, text) && len(all) < MaxClaimIPs {
			all = append(all, text)
		}
	}
	return all
}
