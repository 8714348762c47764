package install

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/types"
)

// use is why a node does not use Plexus, by the reasons of types.NodeUse; nil is that it does.
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
		if err := u.found[reason]; err != nil && reason != types.UseFallback {
			faults = append(faults, fmt.Errorf("%s: %w", reason, err))
		}
	}
	return errors.Join(faults...)
}

// use finds out whether this node uses Plexus, after what could be mended was.
func (f *follower) use() use {
	found := use{types.UseConfiguration: f.checkFirst(), types.UseDefaultNetwork: f.masterFault}
	found[types.UseExecutables] = nil
	if names := f.guard.broken(); len(names) > 0 {
		found[types.UseExecutables] = fmt.Errorf("missing or changed: %s", strings.Join(names, ", "))
	}
	if f.Kubeconfig != "" { // else nothing can be said about it from here
		found[types.UseFallback] = f.checkFallback()
	}
	return found
}

// checkFirst gives an error if the file that the runtime takes is not ours, as it was made.
func (f *follower) checkFirst() error {
	files, err := confdir.Read(f.ConfDir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no configuration", f.ConfDir)
	}
	if first := files[0]; first.Name != f.ConfName {
		return fmt.Errorf("the runtime takes %s, which sorts before %s or is there alone", first.Name, f.ConfName)
	}
	data, err := confdir.ReadSmall(f.confPath())
	if err == nil && !bytes.Equal(data, f.content) {
		err = fmt.Errorf("%s is not as it was made here", f.ConfName)
	}
	return err
}
