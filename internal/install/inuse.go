package install

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Whether the node uses Plexus, by reason, as the label of plexus_node_in_use. The agent has
// one more, of the journal.
const (
	useConfiguration  = "configuration"   // the first file of the runtime is ours, as it was made
	useExecutables    = "executables"     // those of --from
	useDefaultNetwork = "default_network" // the one that our file was made around is there and ready
	useFallback       = "fallback"        // the kubeconfig of plexus-once is there
)

// use is why a node does not use Plexus, by reason; nil is that it does.
type use map[string]error

// inUse keeps what the last round of a follower found.
type inUse struct {
	mu    sync.Mutex
	found use // nil before the first round
}

func (u *inUse) set(found use, m *metrics) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.found = found
	for reason, err := range found {
		value := 1.0
		if err != nil {
			value = 0
		}
		m.inUse.WithLabelValues(reason).Set(value)
	}
}

// ready gives the reasons why pods do not get Plexus. The fallback is none while an agent
// answers.
func (u *inUse) ready() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.found == nil {
		return errors.New("plexus is not installed yet: the default network is not ready")
	}
	var faults []error
	for _, reason := range sortedKeys(u.found) {
		if err := u.found[reason]; err != nil && reason != useFallback {
			faults = append(faults, fmt.Errorf("%s: %w", reason, err))
		}
	}
	return errors.Join(faults...)
}

// use finds out whether this node uses Plexus, after what could be mended was.
func (f *follower) use() use {
	found := use{useConfiguration: f.checkFirst(), useDefaultNetwork: f.masterFault}
	found[useExecutables] = nil
	if names := f.guard.broken(); len(names) > 0 {
		found[useExecutables] = fmt.Errorf("missing or changed: %s", strings.Join(names, ", "))
	}
	if f.Kubeconfig != "" { // else nothing can be said about it from here
		found[useFallback] = f.checkFallback()
	}
	return found
}

// checkFirst gives an error if the file that the runtime takes is not ours, as it was made.
func (f *follower) checkFirst() error {
	files, err := readConfDir(f.ConfDir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no configuration", f.ConfDir)
	}
	if first := files[0]; first.name != f.ConfName {
		return fmt.Errorf("the runtime takes %s, which sorts before %s or is there alone", first.name, f.ConfName)
	}
	data, err := readSmall(f.confPath())
	if err == nil && !bytes.Equal(data, f.content) {
		err = fmt.Errorf("%s is not as it was made here", f.ConfName)
	}
	return err
}
