// Package sriov has the scenario of real virtual functions: plexus and plexus-sriov in a
// guest with two NICs, from a pod's annotation to packets on the wire and back to how
// everything was.
package sriov
