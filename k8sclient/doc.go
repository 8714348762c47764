// Package k8sclient reads the facts of a pod from Kubernetes, or from a folder of
// manifests, and writes status and events back.
//
// Every package that plexus-once links is paid for on every pod of a node without an
// agent, so this one makes its few requests with net/http and reads kubeconfigs
// itself: client-go, even without a clientset, costs each call 2 ms more, and 3 MB.
// What needs its informers belongs in a package of its own.
package k8sclient
