// Package stream is how kubectl-plexus speaks to the kubectl-plexus that runs in a window pod: by
// frames of JSON over the standard input and output of an exec. Each side says its version first.
// The client sends requests, and the server answers each with any number of items and an end, or
// with an error. A heartbeat shows that the other side is there while nothing else is said, or taken.
package stream

import (
	"errors"
	"fmt"
	"time"
)

// Heartbeat is how often the server says that it is there. A side from which nothing was heard, or
// that took nothing, for three of them counts as gone.
const Heartbeat = 10 * time.Second

const patience = 3 // heartbeats

// Protocol is the version of this build. The minor one rises with a release that adds a kind of
// request, or a field that the other side must know.
var Protocol = Version{Major: 1, Minor: 1}

// Errors of a stream.
var (
	// ErrVersion is the error for sides that are too far apart.
	ErrVersion = errors.New("the versions are too far apart")
	// ErrSilent is the error for a side that was not heard for too long.
	ErrSilent = errors.New("nothing was heard for " + (patience * Heartbeat).String())
	// ErrEnded is the error for a stream that the other side has ended.
	ErrEnded = errors.New("the other side ended the stream")
)

// Version is that of the protocol.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Hello is the first message of each side. Its form is the same in every version.
type Hello struct {
	Protocol Version `json:"protocol"`
	Build    string  `json:"build"` // the version of Plexus
	// Folders are where the node has what is read; the client says it.
	Folders Folders `json:"folders,omitzero"`
}

// Folders are paths of the node.
type Folders struct {
	State   string   `json:"state,omitempty"` // of the journal
	NetNS   []string `json:"netns,omitempty"` // in which runtimes mount namespaces
	ConfDir string   `json:"confDir,omitempty"`
	BinDir  string   `json:"binDir,omitempty"`
}

// compare refuses a client and a server that are more than one minor version apart.
func compare(client, server Hello) error {
	apart := client.Protocol.Minor - server.Protocol.Minor
	if client.Protocol.Major == server.Protocol.Major && apart >= -1 && apart <= 1 {
		return nil
	}
	return fmt.Errorf("%w: this kubectl-plexus is %s (protocol %s), that of the cluster's image %s (protocol %s), "+
		"and they may be one minor version apart: use the kubectl-plexus of %s, or bring the cluster to %s",
		ErrVersion, client.Build, client.Protocol, server.Build, server.Protocol, server.Build, client.Build)
}
