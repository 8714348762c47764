// Package k8sclient reads the facts of a pod from Kubernetes, or from a folder of
// manifests, and writes status and events back.
//
// Credentials and connections are client-go's. The few requests do without its REST
// client, because this package decides what is retried, how often and for how long; and
// on a node without an agent every pod pays for each package that plexus-once links. So
// package watched has the watches, and nothing uses a clientset.
package k8sclient
