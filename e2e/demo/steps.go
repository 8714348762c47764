package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// demo is one run on one node.
type demo struct {
	*node
	*options
}

func (d *demo) steps(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"A node, and an empty pod. Both are network namespaces; the rest of this machine is left alone.", d.setUp},
		{"ADD. The runtime calls plexus once; plexus calls one plugin after the other.", d.add},
		{"What the pod has now.", d.look},
		{"A ping to the gateway of each network, from the pod.", d.ping},
		{"What Kubernetes would show: the pod's annotation " + types.AnnotationNetworkStatus, d.status},
		{"CHECK. The runtime asks whether all of that is still in place.", d.check},
		{"DEL. The pod ends: everything is released.", d.del},
	}
	if d.keep {
		steps = steps[:len(steps)-1]
	}
	for i, step := range steps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		title(fmt.Sprintf("%d. %s", i+1, step.title))
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func (d *demo) setUp(context.Context) error {
	if err := d.make(); err != nil {
		return err
	}
	return d.prepare()
}

func (d *demo) add(context.Context) error {
	note("   The pod of examples/demo/manifests/pod.yaml asks for two more networks than its node's own:")
	if err := d.showAnnotation(); err != nil {
		return err
	}
	result, err := d.call("ADD", "add.json")
	if err != nil {
		return err
	}
	if err := d.rememberResult(result); err != nil {
		return err
	}
	fmt.Println()
	return d.showAttachments()
}

// showAnnotation shows the line by which the pod asks for its networks.
func (d *demo) showAnnotation() error {
	data, err := os.ReadFile(filepath.Join(d.examples, "manifests", "pod.yaml"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, types.AnnotationNetworks+":") {
			block("  " + strings.TrimSpace(line))
		}
	}
	return nil
}

func (d *demo) showAttachments() error {
	all, err := d.attachments()
	if err != nil {
		return err
	}
	inPod, err := links(d.pod())
	if err != nil {
		return err
	}
	onHost, err := links(d.host())
	if err != nil {
		return err
	}
	rows := [][]string{{"INTERFACE", "NETWORK", "PLUGINS", "ADDRESSES", "MAC", "GATEWAY", "HOST SIDE"}}
	for i := range all {
		a := &all[i]
		there, ok := linkOf(inPod, func(l link) bool { return l.Name == a.Interface })
		if !ok {
			return fmt.Errorf("plexus says that it attached %s, but the pod has no such interface", a.Interface)
		}
		rows = append(rows, []string{
			a.Interface, a.Network, strings.Join(a.plugins, "+"), list(a.addresses),
			there.MAC, list(a.gateways), hostSide(onHost, there),
		})
	}
	table(rows)
	return nil
}

// hostSide names what an interface of the pod is connected to on the node.
func hostSide(onHost []link, inPod link) string {
	peer, ok := linkOf(onHost, func(l link) bool { return l.Index == inPod.Peer })
	switch {
	case !ok:
		return "?"
	case peer.Bridge != "":
		return peer.Name + " on bridge " + peer.Bridge
	}
	return peer.Name
}

func (d *demo) look(context.Context) error {
	for _, args := range []string{"-br addr", "route"} {
		line := "-n " + d.pod() + " " + args
		command("ip " + line)
		out, err := ip(strings.Fields(line)...)
		if err != nil {
			return err
		}
		block(out)
	}
	return d.compare()
}

// compare holds what plexus has reported against what is in the pod.
func (d *demo) compare() error {
	all, err := d.attachments()
	if err != nil {
		return err
	}
	for i := range all {
		a := &all[i]
		out, err := ip("-n", d.pod(), "-br", "addr", "show", "dev", a.Interface)
		if err != nil {
			return err
		}
		for _, address := range a.addresses {
			if !slices.Contains(strings.Fields(out), address) {
				return fmt.Errorf("%s: plexus reported the address %s, but the pod has: %s", a.Interface, address, out)
			}
		}
	}
	return nil
}

func (d *demo) ping(ctx context.Context) error {
	all, err := d.attachments()
	if err != nil {
		return err
	}
	for i := range all {
		for _, gateway := range all[i].gateways {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			line := fmt.Sprintf("ip netns exec %s ping -n -c 3 -i 0.2 -W 2 -I %s %s", d.pod(), all[i].Interface, gateway)
			command(line)
			out, err := output(nil, nil, strings.Fields(line))
			if err != nil {
				return fmt.Errorf("%s does not answer on %s: %w\n%s", gateway, all[i].Interface, err, out)
			}
			block(pingSummary(string(out)))
		}
	}
	return nil
}

// pingSummary gives the last two lines of what ping prints.
func pingSummary(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], "\n")
}

func (d *demo) status(context.Context) error {
	record, err := d.record()
	if err != nil {
		return err
	}
	if len(record.Status) != len(record.Plan.Attachments) {
		return fmt.Errorf("the status has %d entries for %d networks", len(record.Status), len(record.Plan.Attachments))
	}
	for _, entry := range record.Status {
		if len(entry.IPs) == 0 || net.ParseIP(entry.IPs[0]) == nil || entry.MAC == "" {
			return fmt.Errorf("the status of %s has no address: %+v", entry.Interface, entry)
		}
	}
	text, err := types.FormatStatus(record.Status)
	if err != nil {
		return err
	}
	block(text)
	return nil
}

func (d *demo) check(context.Context) error {
	if _, err := d.call("CHECK", "added.json"); err != nil {
		return err
	}
	good("   plexus and every plugin say yes.")
	return nil
}

func (d *demo) del(context.Context) error {
	before, err := d.inventory()
	if err != nil {
		return err
	}
	config := "added.json"
	if !exists(d.path(config)) { // an ADD that was killed
		config = "add.json"
	}
	if _, err := d.call("DEL", config); err != nil {
		return err
	}
	after, err := d.inventory()
	if err != nil {
		return err
	}
	rows := [][]string{{"LEFT", "BEFORE DEL", "AFTER DEL"}}
	var left []string
	for i, item := range after {
		rows = append(rows, []string{item.what, list(before[i].names), list(item.names)})
		left = append(left, item.names...)
	}
	fmt.Println()
	table(rows)
	if len(left) > 0 {
		return fmt.Errorf("DEL succeeded, but left behind: %s", strings.Join(left, " "))
	}
	note("   The bridges stay, for the node's next pod: that is what the bridge plugin does.")
	return nil
}

// leave keeps the node for somebody to look around.
func (d *demo) leave() error {
	if err := os.WriteFile(d.path("kept"), nil, 0o600); err != nil {
		return err
	}
	good("\nEverything is as it should be. The pod is left standing:")
	d.howToUse()
	return nil
}

func (d *demo) remove() error {
	if err := d.node.remove(); err != nil {
		return fmt.Errorf("%w: %w", errLeft, err)
	}
	return nil
}
