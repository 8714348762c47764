package plan

// NetworkError says which network of a pod has a fault.
type NetworkError struct {
	Network string // namespace/name, or the name of a network of the node's own
	Err     error
}

// Error gives "network name: problem".
func (e *NetworkError) Error() string { return "network " + e.Network + ": " + e.Err.Error() }

// Unwrap gives the error inside.
func (e *NetworkError) Unwrap() error { return e.Err }

// AskedError is a fault of what the pod asks of a network, which may itself be right.
type AskedError struct {
	Key        string // in the element of the annotation
	Capability string // that no plugin of the network declares; "" if something else is wrong
	Problem    string
}

// Error gives "key: problem".
func (e *AskedError) Error() string { return e.Key + ": " + e.Problem }
