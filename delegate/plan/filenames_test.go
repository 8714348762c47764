package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// named is a pod that selects a network of a long CNI name: of its configuration, or of
// the object.
func named(length int) map[string]planWorld {
	long := strings.Repeat("n", length)
	labels := strings.Repeat(strings.Repeat("n", 63)+".", 4)[:length]
	return map[string]planWorld{
		"of the configuration": {config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"type":"bridge"}`, long)}},
		"of the object":        {config: podnet, annotations: annotated(labels), networks: map[string]string{"default/" + labels: `{"cniVersion":"1.0.0","type":"bridge"}`}},
		"of a delegate":        {config: fmt.Sprintf(`"delegates": [{"cniVersion":"1.0.0","name":%q,"type":"bridge"}]`, long)},
	}
}

// libcni's cache names a file NETWORK-CONTAINER-INTERFACE, here NETWORK-c1-net0.
func TestPlanNameTooLongForTheCache(t *testing.T) {
	const longest = 255 - len("-c1-net0")
	for name, world := range named(longest) {
		if got := world.make(t); got.err != nil {
			t.Errorf("%s, at the limit: %v", name, got.err)
		}
	}
	refusals := map[string]refusal{}
	for name, world := range named(longest + 3) {
		refusals[name] = refusal{planWorld: world, want: []string{"name: ", "has 250 bytes, of which 3 are too many", "libcni's cache", "at most 255"}}
	}
	runRefused(t, refusals)
}

func TestPlanNameTooLongForTheJournal(t *testing.T) {
	longest := 255 - len("c1@@eth0.jsonl.new")
	key := journal.Key{ContainerID: "c1", IfName: "eth0"}
	for _, length := range []int{longest, longest + 1} {
		config := &types.Config{Name: strings.Repeat("n", length)}
		b := &builder{Planner: &Planner{Config: config}, sandbox: types.Sandbox{ContainerID: "c1", IfName: "eth0"}}
		err := b.checkRecordName()
		// The journal is the judge of its names.
		key.Network = config.Name
		lock, lockErr := journal.New(t.TempDir()).Lock(t.Context(), "c1")
		if lockErr != nil {
			t.Fatal(lockErr)
		}
		created := lock.Create(key, types.Intent{})
		lock.Release()
		if (err != nil) != errors.Is(created, journal.ErrBadKey) {
			t.Errorf("%d bytes: %v, but the journal says %v", length, err, created)
		}
		if want := length > longest; (err != nil) != want {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	world := planWorld{config: podnet + `, "name": "` + strings.Repeat("n", longest+1) + `"`}
	checkRefusal(t, world.make(t), &refusal{want: []string{"configuration of plexus: name: ", "of which 1 are too many", "the journal"}})
}
