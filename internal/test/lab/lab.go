//go:build linux

// Package lab makes nodes and pods of network namespaces by a script, and asks their kernels which
// way a packet takes between them.
package lab

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Lab is several nodes and their pods, each a network namespace, without any record of Plexus.
type Lab struct {
	*node.Node
	t    testing.TB
	pods map[string][]string // the namespaces of each node's pods
	ns   map[string]*node.Sandbox
	read []*inspect.Snapshot // by the last path, with what that asked
}

var keepPaths = flag.Bool("keep-paths", false, "write the snapshots that the tests of package path read")

// Keep writes the snapshots of a path where package path reads them, if it has a folder for them.
func (l *Lab) Keep(folder string) {
	l.t.Helper()
	if _, err := os.Stat(folder); err != nil || !*keepPaths {
		return
	}
	for _, snapshot := range l.read {
		snapshot.Machine.Taken, snapshot.Machine.BootID, snapshot.Machine.Hostname = time.Time{}, "", ""
		data, err := snapshot.Bytes()
		check.Must(l.t, err)
		data = bytes.ReplaceAll(data, []byte(l.Path("netns")), []byte("/run/netns"))
		check.Must(l.t, os.WriteFile(filepath.Join(folder, snapshot.Machine.Node+".json"), data, 0o644))
	}
}

// New makes the namespaces, and runs a script: each line is the name of a namespace, and a
// command that runs there. @name is the path of another one.
func New(t testing.TB, pods map[string][]string, script string) *Lab {
	t.Helper()
	l := &Lab{Node: node.New(t), t: t, pods: pods, ns: map[string]*node.Sandbox{}}
	for name, pods := range pods {
		for _, name := range append([]string{name}, pods...) {
			l.ns[name] = l.Sandbox(name)
		}
	}
	l.Script(script)
	for name, ns := range l.ns {
		check.Must(t, poll.Until(t.Context(), time.Minute, "the addresses of "+name, func(context.Context) error { return usable(ns) }))
	}
	for name := range pods {
		check.Must(t, poll.Until(t.Context(), time.Minute, "the bridges of "+name, func(context.Context) error { return settled(l.Snapshots(name)[0]) }))
	}
	return l
}

// usable reports an address of IPv6 that the kernel may not send from yet, though nobody is asked whether it is free.
func usable(ns *node.Sandbox) (err error) {
	ns.Do(func() error {
		var all []netlink.Addr
		if all, err = netlink.AddrList(nil, netlink.FAMILY_V6); err != nil {
			return nil
		}
		for _, a := range all {
			if a.Flags&unix.IFA_F_NODAD != 0 && a.Flags&unix.IFA_F_TENTATIVE != 0 {
				err = fmt.Errorf("%s is tentative", a.IPNet)
			}
		}
		return nil
	})
	return err
}

// settled reports an interface whose carrier the kernel has not told its bridge yet: it does so a moment later.
func settled(s *inspect.Snapshot) error {
	graph := inspect.NewGraph(s)
	for _, ns := range s.Namespaces {
		for _, link := range ns.Links {
			ref := inspect.Ref{Namespace: ns.Inode, Index: link.Index}
			_, peer := graph.PeerOf(ref)
			_, master := graph.MasterOf(ref)
			waits := link.Port != nil && master != nil && master.Up && link.Carrier && (link.Port.State != "forwarding" || !master.Carrier)
			if link.Up && (waits || peer != nil && peer.Up && !link.Carrier) {
				return fmt.Errorf("%s has no carrier yet, or does not forward", link.Name)
			}
		}
	}
	return nil
}

// Script runs more lines of a script.
func (l *Lab) Script(script string) {
	l.t.Helper()
	for line := range strings.Lines(script) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		for i, field := range fields {
			if name, found := strings.CutPrefix(field, "@"); found {
				fields[i] = l.ns[name].Path
			}
		}
		l.ns[fields[0]].MustRun(fields[1], fields[2:]...)
	}
}

func (l *Lab) options(name string) collect.Options {
	o := collect.Options{StateDir: l.Path("none"), Sysfs: "/sys"}
	for _, pod := range l.pods[name] {
		o.NetNS = append(o.NetNS, l.ns[pod].Path)
	}
	return o
}

// Snapshots reads nodes, each from inside, and calls them by their names.
func (l *Lab) Snapshots(names ...string) []*inspect.Snapshot {
	l.t.Helper()
	all := make([]*inspect.Snapshot, len(names))
	for i, name := range names {
		l.ns[name].Do(func() (err error) {
			all[i], err = collect.Node(l.options(name))
			return err
		})
		all[i].Machine.Node = name
	}
	return all
}

// Trace traces a path between nodes, and asks them what it has to know.
func (l *Lab) Trace(query path.Query, names ...string) *path.Document {
	l.t.Helper()
	_, document := l.trace(&query, names)
	l.redacted(l.read, query, document)
	return document
}

func (l *Lab) trace(query *path.Query, names []string) (*path.World, *path.Document) {
	l.t.Helper()
	for _, end := range []*string{&query.From, &query.To} {
		if ns := l.ns[*end]; ns != nil {
			*end = ns.Path
		}
	}
	snapshots := l.Snapshots(names...)
	l.read = snapshots
	world := path.NewWorld(snapshots...)
	for range 100 {
		document, asked, err := world.Trace(*query)
		check.Must(l.t, err)
		if len(asked) == 0 {
			return world, document
		}
		for _, question := range asked {
			l.ns[names[question.Machine]].Do(func() error {
				answers, err := collect.Answers(l.options(names[question.Machine]), []inspect.Question{question.Question})
				snapshots[question.Machine].Answers = append(snapshots[question.Machine].Answers, answers...)
				return err
			})
		}
	}
	l.t.Fatal("the path has no end")
	return nil, nil
}

// redacted traces the path in redacted snapshots: it must be the same but for names.
func (l *Lab) redacted(snapshots []*inspect.Snapshot, query path.Query, document *path.Document) {
	l.t.Helper()
	redactor := inspect.NewRedactor([]byte("k"))
	copies := make([]*inspect.Snapshot, len(snapshots))
	for i, snapshot := range snapshots {
		var err error
		copies[i], err = redactor.Snapshot(snapshot)
		check.Must(l.t, err)
		check.Equal(l.t, "findings of the redacted snapshot", ids(copies[i]), ids(snapshot))
	}
	again, asked, err := path.NewWorld(copies...).Trace(path.Query{
		From: redactor.Subject(query.From), To: redactor.Subject(query.To), Interface: query.Interface,
	})
	check.Must(l.t, err)
	check.Equal(l.t, "questions of the redacted path", len(asked), 0)
	check.Equal(l.t, "the redacted path", shape(&again.There), shape(&document.There))
	check.Equal(l.t, "the redacted path back", shape(again.Back), shape(document.Back))
}

func ids(s *inspect.Snapshot) (all []string) {
	for _, finding := range inspect.Findings(s) {
		all = append(all, fmt.Sprint(finding.ID, finding.At))
	}
	return all
}

// shape gives of a way what names nobody.
func shape(w *path.Way) []string {
	if w == nil {
		return nil
	}
	all := []string{string(w.Outcome)}
	for _, hop := range w.Hops {
		all = append(all, fmt.Sprint(hop.Step.Kind, hop.Ref, hop.Kind, hop.MTU, hop.Overhead, hop.State))
	}
	return all
}

// Told gives a way in one line.
func Told(w *path.Way) string {
	if w == nil {
		return "not known"
	}
	var text strings.Builder
	for i, hop := range w.Hops {
		if i > 0 {
			fmt.Fprintf(&text, " -%s- ", hop.Step.Kind)
		}
		fmt.Fprint(&text, hop.Name)
	}
	fmt.Fprintf(&text, ": %s", w.Outcome)
	return text.String()
}

// Ping sends packets from one pod to an interface of another, whether they arrive or not.
func (l *Lab) Ping(from, to, name string) {
	l.t.Helper()
	addresses := l.ns[to].Interfaces()[name].Addrs
	if len(addresses) == 0 {
		l.t.Fatalf("%s of %s has no address", name, to)
	}
	address, _, _ := strings.Cut(addresses[0], "/")
	_, _ = l.ns[from].Run("ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", name, address)
}

// Warm waits until a pod reaches an address: the first packets of IPv6 wait for addresses of the links on the way, of
// which the kernel asks first whether they are free.
func (l *Lab) Warm(from, address string) {
	l.t.Helper()
	check.Must(l.t, poll.Until(l.t.Context(), time.Minute, "answers from "+address, func(context.Context) error {
		if !l.Reaches(from, "", address) {
			return fmt.Errorf("%s does not answer", address)
		}
		return nil
	}))
}

// Reaches reports whether a ping of a pod to an address is answered; name is the interface that it leaves by, if any.
func (l *Lab) Reaches(from, name, address string) bool {
	arguments := []string{"-c", "3", "-i", "0.2", "-W", "1"}
	if name != "" {
		arguments = append(arguments, "-I", name)
	}
	_, err := l.ns[from].Run("ping", append(arguments, address)...)
	return err == nil
}
