package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/style"
)

// AttachedTable writes attachments as lines. Lines that come later stand below the columns of the first.
type AttachedTable struct {
	Wide  bool // all that is known
	Nodes bool // the list is of several nodes
	table table
	began bool
}

// Write writes a line for each attachment of a list, and before the first one the titles.
func (t *AttachedTable) Write(w io.Writer, l *AttachedList) error {
	if len(l.Items) == 0 && !t.began && t.Nodes {
		_, err := fmt.Fprintln(w, "No journal of a node has such an attachment.")
		return err
	}
	if len(l.Items) == 0 && !t.began {
		_, err := fmt.Fprintln(w, "The journal of this node has no such attachment.")
		return err
	}
	if !t.began {
		t.began = true
		t.table.add(t.titles()...)
	}
	for i := range l.Items {
		t.table.addCells(t.cells(&l.Items[i], style.Of(w)))
	}
	return t.table.write(w)
}

func (t *AttachedTable) titles() []string {
	titles := []string{"POD", "INTERFACE", "NETWORK", "ADDRESSES", "HOST SIDE", "STATE"}
	if t.Nodes {
		titles = slices.Insert(titles, 0, "NODE")
	}
	if t.Wide {
		titles = append(titles, "PLUGINS", "MAC", "MTU", "DEVICE", "CONTAINER")
	}
	return titles
}

func (t *AttachedTable) cells(a *Attached, words style.Style) []cell {
	cells := []cell{{text: a.Pod}, {text: a.Interface}, {text: a.Network}, {text: strings.Join(a.Addresses, ",")}, {text: a.HostSide}, a.state(words)}
	if t.Nodes {
		cells = slices.Insert(cells, 0, cell{text: a.Node})
	}
	if !t.Wide {
		return cells
	}
	mtu := ""
	if a.MTU != 0 {
		mtu = fmt.Sprint(a.MTU)
	}
	for _, text := range []string{strings.Join(a.Plugins, ","), a.MAC, mtu, a.Device, a.ContainerID} {
		cells = append(cells, cell{text: text})
	}
	return cells
}

func (a *Attached) state(words style.Style) cell {
	text := string(a.State)
	if a.Why != "" {
		text += " (" + a.Why + ")"
	}
	switch {
	case a.State == StateOK:
		return cell{text, words.Good}
	case a.State.IsFault():
		return cell{text, words.Bad}
	}
	return cell{text, words.Doubtful}
}
