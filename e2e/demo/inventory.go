package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
)

// item is one kind of thing that an attachment leaves on a node.
type item struct {
	what  string
	names []string
}

// inventory gives all that there is of the pod's attachments on the node.
func (n *node) inventory() ([]item, error) {
	inPod, err := links(n.pod())
	if err != nil {
		return nil, err
	}
	onHost, err := links(n.host())
	if err != nil {
		return nil, err
	}
	reserved, err := n.files("lib/networks")
	if err != nil {
		return nil, err
	}
	records, err := n.files("lib/plexus")
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(name string) bool { return filepath.Ext(name) == ".lock" })
	saved, err := n.files("run")
	if err != nil {
		return nil, err
	}
	return []item{
		{"interfaces in the pod", names(inPod, func(link) bool { return true })},
		{"their ends on the node", names(onHost, func(l link) bool { return l.Bridge != "" })},
		{"addresses reserved by host-local", slices.DeleteFunc(reserved, func(name string) bool { return net.ParseIP(name) == nil })},
		{"records and results kept by plexus", count(records)},
		{"settings saved by tuning", count(saved)},
	}, nil
}

func names(links []link, want func(link) bool) []string {
	var found []string
	for _, l := range links {
		if want(l) {
			found = append(found, l.Name)
		}
	}
	return found
}

// count makes many long names of files one short one.
func count(files []string) []string {
	switch len(files) {
	case 0:
		return nil
	case 1:
		return []string{"1 file"}
	}
	return []string{fmt.Sprintf("%d files", len(files))}
}

// files gives the names of all files below a folder of the node.
func (n *node) files(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(n.path(dir), func(_ string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !entry.IsDir():
			found = append(found, entry.Name())
		}
		return nil
	})
	return found, err
}
