package explain

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/plexus-cni/plexus/internal/style"
)

// Write writes the document for people.
func (d *Document) Write(w io.Writer) error {
	var b strings.Builder
	for i := range d.Pods {
		if i > 0 {
			b.WriteString("\n")
		}
		d.Pods[i].write(&b, d.Node.Configuration, style.Of(w))
	}
	writeList(&b, "Warnings about the node's configuration", d.Node.Warnings)
	assumed := "Assumed of the node"
	if d.Node.Name == "" {
		assumed += " (--node NAME or --from SNAPSHOT tells more)"
	}
	writeList(&b, assumed, d.Node.Assumed)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Pod) write(b *strings.Builder, file string, words style.Style) {
	if p.Refused != nil {
		fmt.Fprintf(b, "pod %s/%s %s: ADD answers with code %d\n  %s\n", p.Namespace, p.Name, words.Bad("would fail"), p.Refused.Code, p.Refused.Message)
	} else {
		fmt.Fprintf(b, "pod %s/%s gets %s\n", p.Namespace, p.Name, count(len(p.Attachments), "attachment"))
	}
	for i := range p.Attachments {
		p.Attachments[i].write(b, file)
	}
	writeList(b, "Warnings", p.Warnings)
	writeList(b, "Assumed", p.Assumed)
	writeList(b, "Only the ADD knows", p.AddKnows)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func writeList(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, line := range lines {
		fmt.Fprintf(b, "  - %s\n", line)
	}
}

func (a *Attachment) write(b *strings.Builder, file string) {
	fmt.Fprintf(b, "\n%s  network %s", a.Interface, a.Network)
	if a.Default {
		b.WriteString(" (the pod's first interface)")
	}
	b.WriteString("\n")
	if a.Assumed {
		writeFact(b, "from", "the node's configuration, which is not known")
		return
	}
	writeFact(b, "from", a.From.text(file))
	for _, fact := range a.facts() {
		writeFact(b, fact[0], fact[1])
	}
	for i := range a.Plugins {
		writeFact(b, fmt.Sprintf("plugin %d", i+1), a.Plugins[i].text())
	}
}

// writeFact writes a line; one without a text is left out.
func writeFact(b *strings.Builder, name, text string) {
	if text != "" {
		fmt.Fprintf(b, "  %-9s %s\n", name, text)
	}
}

// text names the input. file has the node's configuration.
func (o *Origin) text(file string) string {
	text := o.Field + " of " + cmp.Or(file, "the node's configuration")
	if o.Element > 0 {
		text = fmt.Sprintf("annotation %s, element %d", o.Field, o.Element)
	}
	if o.Definition != "" {
		text += "; NetworkAttachmentDefinition " + o.Definition
	}
	if o.File != "" {
		text += "; file " + o.File
	}
	return text
}

func (a *Attachment) facts() [][2]string {
	facts := [][2]string{
		{"addresses", strings.Join(a.IPs, ", ")},
		{"MAC", a.MAC},
		{"gateways", strings.Join(a.Gateways, ", ")},
		{"CNI_ARGS", a.CNIArgs},
	}
	if a.Device != nil {
		text := a.Device.ID
		if a.Device.Resource != "" {
			text += " of resource " + a.Device.Resource
		}
		facts = append(facts, [2]string{"device", text}, [2]string{"claim", a.Device.claim()})
	}
	return append(facts, [2]string{"devinfo", a.DeviceFile})
}

// claim names the device as its claim allocates it; "" for one of a device plugin.
func (d *Device) claim() string {
	if d.Claim == "" {
		return ""
	}
	text := d.Claim
	if d.PodClaim != "" && d.PodClaim != d.Claim {
		text += " (the pod's " + d.PodClaim + ")"
	}
	if d.Request != "" {
		text += ", request " + d.Request
	}
	text += fmt.Sprintf(": device %s of pool %s, driver %s", d.Name, d.Pool, d.Driver)
	if d.ShareID != "" {
		text += ", share " + d.ShareID
	}
	return text
}

func (p *Plugin) text() string {
	parts := []string{p.Type}
	for _, run := range p.Runs {
		parts = append(parts, fmt.Sprintf("runs %s (%s)", run.Type, run.Key))
	}
	if len(p.RuntimeConfig) > 0 {
		parts = append(parts, "gets runtimeConfig "+strings.Join(p.RuntimeConfig, ", "))
	}
	if len(p.Args) > 0 {
		parts = append(parts, "gets args.cni "+strings.Join(p.Args, ", "))
	}
	return strings.Join(parts, "; ")
}
