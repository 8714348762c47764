package delegate

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// addressing is what an attachment has, as its result says and its interface shows.
type addressing struct {
	ips  []netip.Addr
	macs []net.HardwareAddr
	seen bool // its interface is in the pod's namespace
}

// verifyAsked reports the addresses that the pod asks of an attachment and has not got. It may
// have more, in any order; and an IPAM plugin may give an address the prefix of its subnet.
func (s *session) verifyAsked(a *types.Attachment, result *current.Result) error {
	has := addressingIn(s.inPod([]*current.Result{result})[0])
	if len(has.missing(a.IPs)) == 0 && has.hasMAC(a.MAC) {
		return nil
	}
	if err := has.addInterface(s.record.Plan.Sandbox.NetNS, a.Interface); err != nil {
		return err
	}
	return types.WithCode(types.CodeInvalidConfig, types.Join(has.checkIPs(a), has.checkMAC(a)))
}

// addressingIn gives what a result says about the pod's interfaces.
func addressingIn(result *current.Result) *addressing {
	has := &addressing{}
	for _, iface := range result.Interfaces {
		if iface != nil && iface.Sandbox != "" {
			has.addMAC(iface.Mac)
		}
	}
	for _, ip := range result.IPs {
		if ip != nil && !isOfHost(result, ip) {
			has.addIP(ip.Address.IP)
		}
	}
	return has
}

// isOfHost reports whether a result gives an address to an interface outside the pod.
func isOfHost(result *current.Result, ip *current.IPConfig) bool {
	index, bound := interfaceOf(result, ip)
	return bound && result.Interfaces[index] != nil && result.Interfaces[index].Sandbox == ""
}

// addInterface adds what the interface shows, which a result may leave out.
func (has *addressing) addInterface(netns, ifName string) error {
	sandbox, err := openSandbox(netns)
	if err != nil {
		return err
	}
	defer sandbox.close()
	there, err := sandbox.inspect(ifName)
	if err != nil || there == nil {
		return err
	}
	has.seen = true
	has.addMAC(there.mac)
	for _, ip := range there.all {
		has.addIP(ip)
	}
	return nil
}

func (has *addressing) addIP(ip net.IP) {
	if addr, ok := netip.AddrFromSlice(ip); ok && !slices.Contains(has.ips, addr.Unmap()) {
		has.ips = append(has.ips, addr.Unmap())
	}
}

func (has *addressing) addMAC(text string) {
	if mac, err := net.ParseMAC(text); err == nil && !has.hasMAC(text) {
		has.macs = append(has.macs, mac)
	}
}

// hasMAC compares by value: there is more than one way to write a MAC address. "" asks for none.
func (has *addressing) hasMAC(text string) bool {
	mac, err := net.ParseMAC(text)
	return err != nil || slices.ContainsFunc(has.macs, func(m net.HardwareAddr) bool { return bytes.Equal(m, mac) })
}

// missing gives those of the addresses that the attachment has not got.
func (has *addressing) missing(asked []string) []string {
	return slices.DeleteFunc(slices.Clone(asked), func(text string) bool {
		address, _, _ := strings.Cut(text, "/")
		addr, err := netip.ParseAddr(address)
		return err != nil || slices.Contains(has.ips, addr.Unmap())
	})
}

func (has *addressing) checkIPs(a *types.Attachment) error {
	missing := has.missing(a.IPs)
	if len(missing) == 0 {
		return nil
	}
	// The kernel makes the link's own by itself.
	given := slices.DeleteFunc(slices.Clone(has.ips), netip.Addr.IsLinkLocalUnicast)
	return notGiven(a, "ips", listed(missing), joined(given), has.seen)
}

func (has *addressing) checkMAC(a *types.Attachment) error {
	if has.hasMAC(a.MAC) {
		return nil
	}
	return notGiven(a, "mac", a.MAC, joined(has.macs), false)
}

func joined[T fmt.Stringer](addresses []T) string {
	texts := make([]string, len(addresses))
	for i, address := range addresses {
		texts[i] = address.String()
	}
	return listed(texts)
}

// listed gives addresses for an error, of which a pod may ask for a thousand.
func listed(addresses []string) string {
	const most = 16
	list := strings.Join(addresses[:min(len(addresses), most)], ", ")
	if more := len(addresses) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// notGiven is the error for what an attachment has not got. Where a plugin declares the capability
// and nobody says what it did, as for a device of another kind than a network interface, there is none.
func notGiven(a *types.Attachment, key, asked, has string, known bool) error {
	_, declared := a.CapabilityArgs[key]
	if declared && has == "" && !known {
		return nil
	}
	problem := fmt.Sprintf("the pod asks for %s, but the attachment has %s", asked, cmp.Or(has, "none"))
	if declared {
		return fmt.Errorf("%s: %s: the plugin that declares the capability %q does not do it", key, problem, key)
	}
	return fmt.Errorf("%s: %s: no plugin of the network declares the capability %q, and none did it by CNI_ARGS: declare it", key, problem, key)
}
