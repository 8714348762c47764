// Package vhostuser gives a pod a vhost-user port of a virtual switch on its node: the
// port, a folder of its own for the socket, and a file that tells the application in
// the pod what it got. It is all that cmd/plexus-vhostuser does.
//
// What an ADD is about to do is on disk before it is done, so that DEL and GC know what
// to undo however the ADD ended.
package vhostuser
