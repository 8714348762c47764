package types

// CNIVersions are the versions of CNI that our plugins can be called in, the oldest first.
var CNIVersions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}
