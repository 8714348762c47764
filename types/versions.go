package types

import "slices"

// CNIVersions are the versions of CNI that plexus can be called in, the oldest first.
var CNIVersions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// oldVersions are the versions of CNI whose results have ip4 and ip6.
var oldVersions = []string{"0.1.0", "0.2.0"}

// AllCNIVersions gives every version of CNI, the oldest first. Our plugins that make an interface
// can be called in each, as the reference plugins: a configuration that says none is of 0.1.0.
func AllCNIVersions() []string { return slices.Concat(oldVersions, CNIVersions) }

// IsOldVersion reports whether a result of the version has one address of a family at most, and
// no interfaces.
func IsOldVersion(version string) bool { return slices.Contains(oldVersions, version) }
