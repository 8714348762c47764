package pf

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/sriov"
)

func words(values ...uint32) []byte {
	var data []byte
	for _, v := range values {
		data = binary.NativeEndian.AppendUint32(data, v)
	}
	return data
}

func attr(kind int, data []byte) []byte { return nl.NewRtAttr(kind, data).Serialize() }

func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func mac(vf uint32, last byte) []byte {
	return attr(nl.IFLA_VF_MAC, append(words(vf), append([]byte{2, 0, 0, 0, 0, last}, make([]byte, 26)...)...))
}

func guid(vf uint32, value uint64) []byte {
	return binary.NativeEndian.AppendUint64(words(vf, 0), value)
}

// full has every attribute that a driver can report, for VF 1.
func full() []byte {
	proto := binary.BigEndian.AppendUint16(words(1, 100, 3), unix.ETH_P_8021AD)
	return join(
		mac(1, 9), attr(nl.IFLA_VF_VLAN, words(1, 100, 3)), attr(nl.IFLA_VF_VLAN_LIST, attr(nl.IFLA_VF_VLAN_INFO, append(proto, 0, 0))),
		attr(nl.IFLA_VF_RATE, words(1, 10, 200)), attr(nl.IFLA_VF_SPOOFCHK, words(1, 1)), attr(nl.IFLA_VF_TRUST, words(1, 0)),
		attr(nl.IFLA_VF_LINK_STATE, words(1, nl.IFLA_VF_LINK_STATE_DISABLE)),
		attr(nl.IFLA_VF_IB_NODE_GUID, guid(1, 0x0011223344556677)), attr(nl.IFLA_VF_IB_PORT_GUID, guid(1, 0x0011223344556688)),
	)
}

func TestParseLink(t *testing.T) {
	on, off := true, false
	list := attr(unix.IFLA_VFINFO_LIST, join(attr(nl.IFLA_VF_INFO, mac(0, 1)), attr(nl.IFLA_VF_INFO, full())))
	link := join(attr(unix.IFLA_IFNAME, nl.ZeroTerminated("ens1f0")), list)
	for vf, want := range map[int]*sriov.VFSettings{
		0: {MAC: "02:00:00:00:00:01", VLANProto: sriov.Proto8021Q},
		1: {
			MAC: "02:00:00:00:00:09", VLAN: 100, QoS: 3, VLANProto: sriov.Proto8021AD, SpoofChk: &on, Trust: &off, MinTxRate: 10, MaxTxRate: 200,
			LinkState: "disable", NodeGUID: "00:11:22:33:44:55:66:77", PortGUID: "00:11:22:33:44:55:66:88",
		},
		2: nil,
	} {
		got := parseLink(link, vf)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("VF %d (-want +got):\n%s", vf, diff)
		}
	}
}

// The kernel reports -1 for a setting that the driver does not report.
func TestParseUnknown(t *testing.T) {
	got := parseVF(join(mac(1, 9), attr(nl.IFLA_VF_SPOOFCHK, words(1, unknown)), attr(nl.IFLA_VF_TRUST, words(1, unknown)), attr(nl.IFLA_VF_LINK_STATE, words(1, 77))), 1)
	if diff := cmp.Diff(&sriov.VFSettings{MAC: "02:00:00:00:00:09", VLANProto: sriov.Proto8021Q}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(attr(unix.IFLA_VFINFO_LIST, attr(nl.IFLA_VF_INFO, full())), 1)
	f.Add([]byte{1}, 0)
	f.Fuzz(func(_ *testing.T, data []byte, vf int) { _ = parseLink(data, vf) })
}
