// Package sriov has the scenario of real virtual functions: plexus and plexus-sriov in a
// guest with two NICs, from a pod's annotation to packets on the wire and back to how
// everything was.
//
// TestE2EGuestSRIOV is the quick one. TestE2EGuestSRIOVAllocation is the way from the
// kubelet's word of a pod's devices to its interfaces: the kubelet's API is served by the
// test in the guest, pods and networks are in a real API server on this side.
// TestE2EGuestSRIOVAccidents has every kill point, of which the quick one has a sample.
package sriov
