package agent

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// reportGrace is how long the report of the DEL may take that explains why a record is gone.
const reportGrace = 5 * time.Second

// reported compares what calls report with the folder of the journal. A call that succeeded
// has a record; where there is none, this is not the folder that plexus writes to.
type reported struct {
	dir string
	now func() time.Time

	mu    sync.Mutex
	last  map[string]lastCall // of containers, until the next check
	lost  string              // the container of a record that is missing; empty if none is
	fault error               // why it is missing
}

// lastCall is the newest call that was reported for a container.
type lastCall struct {
	started, heard time.Time
	leavesRecord   bool
}

// add notes a call of a container.
func (r *reported) add(call *types.CallReport, recorded func(containerID string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leavesRecord := call.Code == 0 && (call.Command == "ADD" || call.Command == "CHECK")
	before, known := r.last[call.ContainerID]
	switch {
	case leavesRecord && recorded(call.ContainerID):
		r.lost, r.fault = "", nil
		delete(r.last, call.ContainerID)
	case known && before.started.After(call.Started): // reports may overtake each other
	case known || len(r.last) < maxReports:
		r.last[call.ContainerID] = lastCall{started: call.Started, heard: r.now(), leavesRecord: leavesRecord}
	}
}

// check gives the containers whose records are newly found to be missing.
func (r *reported) check(recorded func(containerID string) bool) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost != "" && recorded(r.lost) {
		r.lost, r.fault = "", nil
	}
	for id, call := range r.last {
		if r.now().Sub(call.heard) < reportGrace {
			continue
		}
		delete(r.last, id)
		if call.leavesRecord && !recorded(id) {
			missing = append(missing, id)
			r.lost, r.fault = id, r.reason(id)
		}
	}
	return missing
}

// reason says why the record of a container is missing, and what to do.
func (r *reported) reason(id string) error {
	var folder unix.Stat_t
	err := unix.Stat(r.dir, &folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = errors.New("the folder is missing, and so is the record")
	case err == nil && folder.Nlink == 0:
		err = errors.New("the folder was removed, and with it the record")
	case err == nil:
		err = errors.New("it lacks the record")
	}
	return fmt.Errorf("the journal in %s is not the one that plexus writes: %w of sandbox %s, whose call succeeded; no status is published: "+
		"set --state-dir to the folder plexus in the cniDir of the node's configuration, and restart the agent if that folder was made anew", r.dir, err, id)
}

// ready gives the reason why the journal cannot be trusted; nil until a record is missing.
func (r *reported) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault
}
