//go:build linux

package collect

import (
	"context"
	"fmt"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/drops"
)

// reasons are the kernel's, for the packets that it drops; nil where they are not watched.
type reasons struct{ reader *drops.Reader }

// openReasons begins to watch them. Without them, packets are watched all the same.
func (w *Watching) openReasons() {
	reader, err := drops.Open(w.watch.Marks)
	if err != nil {
		w.notes = append(w.notes, fmt.Sprintf("the kernel's reasons are not known: %v", err))
		return
	}
	w.reasons = &reasons{reader}
}

// read gives them until the context ends, and then those that are left. It gives nil where they are not watched.
func (r *reasons) read(ctx context.Context) <-chan inspect.Drop {
	if r == nil {
		return nil
	}
	out := make(chan inspect.Drop)
	go func() {
		defer close(out)
		for {
			drop, err := r.reader.Read(ctx)
			if err != nil {
				return // the context's end: what was there has been given
			}
			out <- drop
		}
	}()
	return out
}

// lost says that some are missing.
func (r *reasons) lost() []string {
	if r == nil || r.reader.Lost() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d of the kernel's reasons were lost: there was no room for them", r.reader.Lost())}
}

func (r *reasons) close() {
	if r != nil {
		_ = r.reader.Close()
	}
}
