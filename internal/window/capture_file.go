package window

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect/capture"
	"github.com/plexus-cni/plexus/internal/inspect/pcapng"
	"github.com/plexus-cni/plexus/internal/version"
)

// private is the mode of a capture: it has what pods say.
const private = 0o600

// open gives what takes the packets, and what closes that.
func (o *captureOptions) open(cmd *cobra.Command, v *visited, points []capture.Point) (capture.Sink, func() error, error) {
	format := capture.Format{
		Section: pcapng.Section{Application: program + " " + version.Version, Comment: "capture of pod " + o.path.query.From},
		Names:   capture.Names(v.snapshots), Filter: cmp.Or(o.chooser.Text, o.program), Keep: o.keep,
	}
	nothing := func() error { return nil }
	switch o.write {
	case "":
		return capture.Lines(styled(cmd.OutOrStdout())), nothing, nil
	case "-":
		if isTerminal(cmd.OutOrStdout()) {
			return nil, nil, misuse(errors.New("-w - would write a binary file to the terminal: give a file, or a pipe"))
		}
		sink, err := capture.File(cmd.OutOrStdout(), format, points)
		return sink, nothing, err
	}
	file, err := os.OpenFile(filepath.Clean(o.write), os.O_CREATE|os.O_WRONLY, private)
	if err != nil {
		return nil, nil, fmt.Errorf("-w: %w", err)
	}
	kept := &replacing{file: file}
	sink, err := capture.File(kept, format, points)
	if err != nil {
		_ = file.Close()
	}
	return whole{sink, kept}, kept.close, err
}

// whole is a Sink whose file is readable to its end, also after a write that failed in the middle of a packet.
type whole struct {
	capture.Sink
	file *replacing
}

func (w whole) Flush() error {
	err := w.Sink.Flush()
	if err == nil {
		w.file.whole = w.file.size
	}
	return err
}

// replacing is a file whose old content stays until there is something new: a capture that cannot begin
// takes nothing away.
type replacing struct {
	file        *os.File
	begun       bool
	size, whole int64 // of what was written; up to where it has no half packet
}

func (r *replacing) Write(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		if r.isRegular() {
			if err := r.file.Truncate(0); err != nil {
				return 0, err
			}
			_ = r.file.Chmod(private) // a file system may have no modes
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

func (r *replacing) isRegular() bool {
	info, err := r.file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// close takes half a packet off the end.
func (r *replacing) close() error {
	var err error
	if r.whole < r.size && r.isRegular() {
		err = r.file.Truncate(r.whole)
	}
	return errors.Join(err, r.file.Close())
}
