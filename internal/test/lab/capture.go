//go:build linux

package lab

import (
	"bytes"
	"context"
	"sync"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/capture"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// Capture writes down what passes every hop of a path while a function runs, and gives that as pcapng.
func (l *Lab) Capture(query path.Query, filter string, during func(), names ...string) []byte {
	l.t.Helper()
	_, document := l.trace(&query, names)
	points := capture.OfPath(document, l.read)
	tasks, err := capture.Chooser{Text: filter}.Tasks(points, 0)
	check.Must(l.t, err)
	var out bytes.Buffer
	sink, err := capture.File(&out, capture.Format{Names: capture.Names(l.read), Filter: filter}, points)
	check.Must(l.t, err)
	recorder := capture.NewRecorder(sink, points, document)
	ctx, cancel := context.WithCancel(l.t.Context())
	var mu sync.Mutex
	var ready, ended sync.WaitGroup
	ready.Add(len(tasks))
	for i := range tasks {
		ended.Go(func() {
			err := watcher{l, tasks[i].Node}.Watch(ctx, tasks[i].Watch, func(s inspect.Sighting) error {
				mu.Lock()
				defer mu.Unlock()
				if s.Ready {
					ready.Done()
				}
				return recorder.Saw(&tasks[i], s)
			})
			if err != nil {
				l.t.Error(err)
			}
		})
	}
	ready.Wait()
	during()
	cancel()
	ended.Wait()
	check.Must(l.t, recorder.End())
	return out.Bytes()
}
