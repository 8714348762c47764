package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// maxListed is how many sandboxes a message names.
const maxListed = 10

// recorded is what an uninstall needs of a record of the journal.
type recorded struct {
	key    journal.Key
	record *types.Record // nil beside a fault
	fault  error         // why it cannot be read
	lives  bool          // its sandbox, as far as can be told
}

// String names the sandbox, its pod if that is known, and why it cannot be read.
func (r *recorded) String() string {
	switch {
	case r.fault != nil:
		return fmt.Sprintf("sandbox %s (%v)", r.key.ContainerID, r.fault)
	case r.record.Plan.Pod.Known():
		return fmt.Sprintf("sandbox %s (pod %s)", r.key.ContainerID, &r.record.Plan.Pod)
	}
	return "sandbox " + r.key.ContainerID
}

// readRecords gives what the journal in cniDir has, the dead among it.
func readRecords(cniDir string) ([]recorded, error) {
	j := journal.New(filepath.Join(cniDir, "plexus"))
	keys, err := j.List()
	if err != nil {
		return nil, err
	}
	bootID, err := host.BootID()
	if err != nil {
		return nil, err
	}
	var all []recorded
	for _, key := range keys {
		record, err := j.Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released in the meantime
		}
		lives := err != nil || journal.WhereaboutsOf(record).MayLive(bootID)
		all = append(all, recorded{key, record, err, lives})
	}
	return all, nil
}

// setAside gives the files of the journal that stay for people to look at: records that could not
// be read, and those of sandboxes that could not be released.
func setAside(cniDir string) (paths []string) {
	for _, suffix := range []string{host.Corrupt, host.GivenUp} {
		found, _ := filepath.Glob(filepath.Join(cniDir, "plexus", "*"+suffix+"*")) // its one error is of a bad pattern
		paths = append(paths, found...)
	}
	return paths
}

// living gives those whose sandbox lives.
func living(all []recorded) []recorded {
	var some []recorded
	for _, r := range all {
		if r.lives {
			some = append(some, r)
		}
	}
	return some
}

// list names the first sandboxes for a message.
func list(all []recorded) string {
	var names []string
	for n := range all[:min(len(all), maxListed)] {
		names = append(names, all[n].String())
	}
	if more := len(all) - maxListed; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// releaser makes the DEL of sandboxes as a runtime does, by the installed plexus.
type releaser struct {
	conf   []byte // our configuration as it is installed; nil if it is not there
	binDir string
	cniDir string
	log    *slog.Logger
}

// releaseAll makes the DEL of every record, tries all, and gives what went wrong.
func (r *releaser) releaseAll(ctx context.Context, all []recorded) error {
	if len(all) == 0 {
		return nil
	}
	// The runtime keeps its results elsewhere; plexus has its own beside the journal.
	cache, err := os.MkdirTemp("", "plexus-uninstall-")
	if err != nil {
		return fmt.Errorf("a folder for libcni: %w", err)
	}
	defer func() { _ = os.RemoveAll(cache) }()
	cni := libcni.NewCNIConfigWithCacheDir([]string{r.binDir}, cache, nil)
	var faults []error
	for n := range all {
		if err := r.release(ctx, cni, &all[n]); err != nil {
			faults = append(faults, fmt.Errorf("release %s: %w", &all[n], err))
			continue
		}
		r.log.Info("released", "sandbox", all[n].key.ContainerID, "network", all[n].key.Network, "interface", all[n].key.IfName)
	}
	return types.Join(faults...)
}

func (r *releaser) release(ctx context.Context, cni *libcni.CNIConfig, rec *recorded) error {
	list, err := r.listFor(rec)
	if err != nil {
		return err
	}
	rt := &libcni.RuntimeConf{ContainerID: rec.key.ContainerID, IfName: rec.key.IfName}
	if rec.record != nil {
		rt.Args = rec.record.Plan.Sandbox.Args
		if rec.lives {
			rt.NetNS = rec.record.Plan.Sandbox.NetNS
		}
	}
	return cni.DelNetworkList(ctx, list, rt)
}

// listFor gives the configuration for the DEL of a record: that which is installed, under
// the name of the network in the record. Without one, it is made of the record itself.
func (r *releaser) listFor(rec *recorded) (*libcni.NetworkConfigList, error) {
	conf := r.conf
	if conf == nil {
		var err error
		if conf, err = r.confOf(rec); err != nil {
			return nil, err
		}
	}
	list, err := libcni.NetworkConfFromBytes(conf)
	if err != nil {
		return nil, err
	}
	list.Name = rec.key.Network
	for n, plugin := range list.Plugins {
		if list.Plugins[n], err = libcni.InjectConf(plugin, map[string]any{"cniDir": r.cniDir}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *releaser) confOf(rec *recorded) ([]byte, error) {
	if rec.record == nil {
		return nil, fmt.Errorf("there is no configuration of plexus to do it by: install it again first: %w", rec.fault)
	}
	plugin := fields{
		{"type", "plexus"},
		{"binDir", r.binDir},
		{"agentSocket", ""},
		{"delegates", []json.RawMessage{json.RawMessage(rec.record.Plan.Attachments[0].Config)}},
	}
	return json.Marshal(fields{{"cniVersion", cniVersion}, {"name", rec.key.Network}, {"plugins", []fields{plugin}}})
}
