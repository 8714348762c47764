package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/poll"
	"github.com/plexus-cni/plexus/types"
)

// Leftovers gives every file that something on the node would still be released by:
// in cniDir, in the folders of the plugins' and the runtime's state, and of device
// information. Locks are none, nor is host-local's note of the last address.
func (n *Node) Leftovers() []string {
	n.t.Helper()
	left := []string{}
	for _, dir := range []string{n.CNIDir, varLibCNI, run + "/k8s.cni.cncf.io"} {
		left = append(left, n.files(dir)...)
	}
	return slices.DeleteFunc(left, isSpent)
}

func isSpent(path string) bool {
	base := filepath.Base(path)
	return base == "lock" || strings.HasSuffix(base, ".lock") || strings.HasPrefix(base, "last_reserved_ip.")
}

// files gives the files under a folder, on the host side.
func (n *Node) files(dir string) []string {
	n.t.Helper()
	var files []string
	n.Do(func() error {
		return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
	})
	return files
}

// Reservations gives host-local's addresses that are reserved, by network.
func (n *Node) Reservations() map[string][]string {
	n.t.Helper()
	reserved := map[string][]string{}
	for _, file := range n.files(varLibCNI + "/networks") {
		if !isSpent(file) {
			network := filepath.Base(filepath.Dir(file))
			reserved[network] = append(reserved[network], filepath.Base(file))
		}
	}
	return reserved
}

// MustBeClean demands that nothing of any sandbox is left: no file, no reservation, no
// interface of the host side that a plugin has made.
func (n *Node) MustBeClean() {
	n.t.Helper()
	if left := n.Leftovers(); len(left) > 0 {
		n.t.Errorf("files are left: %s", strings.Join(left, ", "))
	}
	// Those of a namespace that has ended go when the kernel comes to it.
	err := poll.Until(context.Background(), 20*time.Second, "the interfaces to go", func(context.Context) error {
		for _, kind := range []string{"veth", "macvlan"} {
			if links := n.Links(kind); len(links) > 0 {
				return fmt.Errorf("interfaces of kind %s are left: %s", kind, strings.Join(links, ", "))
			}
		}
		return nil
	})
	if err != nil {
		n.t.Error(err)
	}
}

// RecordPath gives the journal's file of a sandbox, attached by Conf as eth0.
func (n *Node) RecordPath(s *Sandbox) string {
	return filepath.Join(n.CNIDir, "plexus", s.ID+"@cluster@eth0.jsonl")
}

// Record reads the journal's record of a sandbox, attached by Conf as eth0.
func (n *Node) Record(s *Sandbox) *types.Record {
	n.t.Helper()
	data, err := os.ReadFile(n.RecordPath(s))
	check.Must(n.t, err)
	record, err := types.ParseRecord(data)
	check.Must(n.t, err)
	return record
}

// Records gives the names of the files in the journal, without locks.
func (n *Node) Records() []string {
	n.t.Helper()
	names := []string{}
	for _, file := range n.files(filepath.Join(n.CNIDir, "plexus")) {
		if !isSpent(file) {
			names = append(names, filepath.Base(file))
		}
	}
	return names
}

// Cached reads the result that libcni's cache in cniDir has of an attachment.
func (n *Node) Cached(s *Sandbox, network, ifName string) *current.Result {
	n.t.Helper()
	var cached struct {
		Result json.RawMessage `json:"result"`
	}
	data := n.ReadFile(filepath.Join(n.CNIDir, "results", network+"-"+s.ID+"-"+ifName))
	check.Must(n.t, json.Unmarshal([]byte(data), &cached))
	return ParseResult(n.t, cached.Result)
}
