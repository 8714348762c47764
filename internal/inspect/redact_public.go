package inspect

import (
	"fmt"
	"regexp"
	"strings"
)

// isPublic reports whether a text is a word of the kernel or of Plexus, which names nobody.
func isPublic(text string) bool {
	return publicWords[text] || text == "going down" || text == "going back" || flag.MatchString(text) || shortNumber.MatchString(text) || pciAddress.MatchString(text)
}

var (
	// flag matches flags of interfaces, and the names of errors of the kernel.
	flag        = regexp.MustCompile(`^(UP|BROADCAST|MULTICAST|LOOPBACK|LOWER_UP|NOARP|POINTOPOINT|MASTER|SLAVE|PROMISC|ALLMULTI|RUNNING|DEBUG|DORMANT|ECHO|NO-CARRIER|DYNAMIC|PORTSEL|AUTOMEDIA|NOTRAILERS|ENETUNREACH|EHOSTUNREACH|ENETDOWN|EACCES|EPERM|EINVAL|EXDEV|ENODEV|ENOENT|EAGAIN|ENOBUFS|EOPNOTSUPP|EAFNOSUPPORT|ENONET)$`)
	shortNumber = regexp.MustCompile(`^-?[0-9]{1,10}$|^0x[0-9a-f]{1,8}$`)
	pciAddress  = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
)

var publicWords = words(`
	device veth netkit bridge macvlan macvtap ipvlan ipvtap vlan vxlan geneve gre gretap ip6gre ip6gretap ipip sit ip6tnl vti vti6
	erspan ip6erspan wireguard bond team dummy ifb vrf tun tap tuntap vcan can openvswitch nlmon xfrm ipoib hsr macsec rmnet
	up down unknown dormant testing lowerlayerdown notpresent
	l2 l3 l3s private vepa bridge passthru source balance-rr active-backup balance-xor broadcast 802.3ad balance-tlb balance-alb
	disabled listening learning forwarding blocking
	incomplete reachable stale delay probe failed noarp permanent none self extern_learn
	global site link host nowhere universe
	unicast local broadcast anycast multicast blackhole unreachable prohibit throw nat xresolve
	kernel boot static redirect ra dhcp zebra bird bgp isis ospf rip eigrp babel mrouted dnrouted gated
	default all main active backup auto enable disable enabled
	filter mangle raw security nat kube-proxy
	pci virtio vdpa auxiliary usb platform vmbus
	virtio_net mlx5_core mlx4_en i40e ice ixgbe igb e1000 e1000e bnxt_en vmxnet3 ena gve iavf igbvf ixgbevf
	pfifo_fast fq_codel fq noqueue mq htb clsact ingress tbf sfq prio
	legacy nft ip ip6 inet arp netdev FORWARD INPUT OUTPUT PREROUTING POSTROUTING forward input output prerouting postrouting
	802.1Q 802.1ad true false yes no on off ok gone changed unpublished unfinished dead released text
	bandwidth bond dhcp dummy firewall host-device host-local ipvlan loopback macvlan portmap ptp sbr static tap tuning vlan vrf
	sriov rdma flannel calico calico-ipam weave-net weave-ipam cilium-cni multus plexus plexus-sriov plexus-vhostuser whereabouts`)

// publicPhrases are what sentences may keep.
var publicPhrases = []string{
	"permission denied", "operation not permitted", "no such file or directory", "no such device", "invalid argument", "device or resource busy",
	"not supported", "too many open files", "dump interrupted", "dump was interrupted", "it went away meanwhile", "there is no network namespace",
	"the saved snapshot has no answer", "connection refused", "deadline exceeded",
}

var commonFolders = words("run var lib cni netns docker proc sys class net tmp etc net.d opt bin usr local ns self thread-self task fd containers containerd crio podman kubelet plexus networks results dev vhost sockets host . ..")

func words(text string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(text) {
		all[word] = true
	}
	return all
}

func hexes(data []byte) string {
	parts := make([]string, len(data))
	for i, b := range data {
		parts[i] = fmt.Sprintf("%02x", b)
	}
	return strings.Join(parts, ":")
}
