package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// Where the records are lost while the pod lives, DEL releases what libcni's caches know in
// every folder, and the log has what could not be known.
func TestNetnsDelWhenTheStateIsLost(t *testing.T) {
	const multus = "/var/lib/cni/multus"
	for name, c := range map[string]struct {
		lose         func(n *node.Node) error
		reservations map[string][]string
		logged       []string
	}{
		"the journal": {
			lose:         func(n *node.Node) error { return os.RemoveAll(filepath.Join(n.CNIDir, "plexus")) },
			reservations: map[string][]string{},
			logged:       []string{"a sandbox without a record", "net0", "net1"},
		},
		"the journal, and the caches are in Multus's folder": {
			lose: func(n *node.Node) error {
				if err := os.MkdirAll(multus, 0o700); err != nil {
					return err
				}
				if err := os.CopyFS(multus+"/results", os.DirFS(filepath.Join(n.CNIDir, "results"))); err != nil {
					return err
				}
				return os.RemoveAll(n.CNIDir)
			},
			reservations: map[string][]string{},
			logged:       []string{"a sandbox without a record", multus},
		},
		"everything": {
			lose:         func(n *node.Node) error { return os.RemoveAll(n.CNIDir) },
			reservations: map[string][]string{"mac": {"10.2.0.2"}, "br2": {"10.3.0.2"}},
			logged:       []string{"a sandbox without a record", "interfacesLeft", "net0", "net1", "stay taken"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			conf := n.Conf(node.Conf{"logFile": n.Path("log")})
			n.Add(pod, conf)
			want := map[string][]string{}
			for network := range n.Reservations() {
				want[network] = c.reservations[network]
			}
			n.Do(func() error { return c.lose(n) })
			n.Del(pod, conf)
			for network, addresses := range want {
				check.Equal(t, "reservations of "+network, n.Reservations()[network], addresses)
			}
			log := n.ReadFile(n.Path("log"))
			check.Contains(t, "log", log, c.logged...)
			n.Del(pod, conf)
		})
	}
}

// A second DEL, of an empty namespace, is no news.
func TestNetnsSecondDelIsNoNews(t *testing.T) {
	n, pod := threeNetworks(t)
	conf := n.Conf(node.Conf{"logFile": n.Path("log")})
	n.Add(pod, conf)
	n.Del(pod, conf)
	n.Del(pod, conf)
	log, err := os.ReadFile(n.Path("log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "without a record") {
		t.Errorf("%s", log)
	}
}

// A disk that takes nothing more keeps no sandbox: what is taken is released first.
func TestNetnsDelOnADiskThatTakesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(n *node.Node) error
		code  uint // of the DELs; 0 for none
		left  []string
	}{
		"no inode": {spoil: noInode},
		"no space": {spoil: noSpace},
		"read-only": {spoil: func(n *node.Node) error {
			return unix.Mount("", n.CNIDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}, code: 5, left: []string{"c1@cluster@eth0.jsonl"}},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			check.Must(t, os.MkdirAll(n.CNIDir, 0o700))
			n.Do(func() error { return unix.Mount("small", n.CNIDir, "tmpfs", 0, "mode=0755,nr_inodes=60,size=1m") })
			n.Add(pod, n.Conf(nil))
			never := n.Sandbox("c2")
			n.Do(func() error { return c.spoil(n) })
			for _, s := range []*node.Sandbox{pod, pod, never} { // the second DEL has no record, nor has the third
				o := n.Call(node.Call{Command: "DEL", Config: n.Conf(nil), Sandbox: s})
				switch {
				case c.code != 0 && s == pod:
					o.Fails(c.code)
				default:
					o.OK()
				}
			}
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
			check.Equal(t, "records", append([]string{}, n.Records()...), append([]string{}, c.left...))
			n.Pod("c2", nil)
			n.Do(func() error { return c.spoil(n) }) // again: the DELs made room
			check.Contains(t, "ADD", n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: never}).Fails(5).Msg, "c2")
		})
	}
}

// Nor does it keep CHECK from looking, or GC from releasing.
func TestNetnsGCOnADiskThatTakesNothing(t *testing.T) {
	n := gcNode(t)
	check.Must(t, os.MkdirAll(n.CNIDir, 0o700))
	n.Do(func() error { return unix.Mount("small", n.CNIDir, "tmpfs", 0, "mode=0755,size=1m") })
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	result := n.Call(node.Call{Command: "CHECK", Config: conf, Sandbox: pods[0]}).Fails(7).Msg // it needs prevResult
	readOnly := func(flags uintptr) {
		n.Do(func() error { return unix.Mount("", n.CNIDir, "", unix.MS_REMOUNT|flags, "") })
	}
	readOnly(unix.MS_RDONLY)
	check.Equal(t, "CHECK", n.Call(node.Call{Command: "CHECK", Config: conf, Sandbox: pods[0]}).Fails(7).Msg, result)
	check.Contains(t, "GC", gc(n, conf, "c1").Fails(5).Msg, "container c2", "read-only file system")
	check.Equal(t, "interfaces of the invalid", pods[1].InterfaceNames(), []string{})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.2"}, "mac": {"10.2.0.2"}})
	readOnly(0)
	gc(n, conf).OK()
	n.MustBeClean()
}

func noInode(n *node.Node) error {
	for {
		file, err := os.CreateTemp(n.CNIDir, "filler")
		if err != nil {
			return nil //nolint:nilerr // the disk is full, as it should be
		}
		_ = file.Close()
	}
}

// noSpace fills the disk, and each record to the end of its page: no line can be appended.
func noSpace(n *node.Node) error {
	records, err := filepath.Glob(filepath.Join(n.CNIDir, "plexus", "*.jsonl"))
	if err != nil {
		return err
	}
	for _, path := range records {
		record, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		page := os.Getpagesize()
		record = append(record, bytes.Repeat([]byte("\n"), page-len(record)%page)...)
		if err := os.WriteFile(path, record, 0o600); err != nil {
			return err
		}
	}
	file, err := os.CreateTemp(n.CNIDir, "filler")
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		if _, err := file.Write(make([]byte, 4096)); err != nil {
			return nil //nolint:nilerr // the disk is full, as it should be
		}
	}
}
