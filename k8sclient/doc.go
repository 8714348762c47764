// Package k8sclient reads the facts of a pod from Kubernetes, or from a folder of
// manifests, and writes status and events back.
//
// Credentials and connections are client-go's. The few requests are made without its
// REST client, because what is retried, how often and for how long is the point here;
// and every package that plexus-once links is paid for on every pod of a node without
// an agent. So what watches is in a package of its own, watched, and there is no clientset.
package k8sclient
