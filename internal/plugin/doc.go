// Package plugin is the edge of our CNI plugins: what stands between the runtime and the
// work of plexus, plexus-sriov and plexus-vhostuser, and is the same for all of them.
package plugin
