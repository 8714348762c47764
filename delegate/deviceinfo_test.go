package delegate

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// infos notes which descriptions of devices are removed, and fails if it is to.
type infos struct {
	removed []string
	failure error
}

func (*infos) Path(network, containerID, ifName string) string {
	return "/" + filepath.Join("infos", network, containerID, ifName)
}
func (*infos) Read(string) (*types.DeviceInfo, error) { return nil, nil }
func (*infos) Describe(string, types.Device) error    { return nil }
func (i *infos) Remove(path string) error {
	i.removed = append(i.removed, path)
	return i.failure
}

// The description of a device goes with its attachment: after the plugin's DEL, and the
// attachment is not released without.
func TestDescriptionsOfDevicesAreRemoved(t *testing.T) {
	n := newSpecNode(t, "")
	for i := range n.source.facts.Networks {
		n.source.facts.Networks[i].ResourceName = ""
	}
	n.source.facts.Pod.Annotations = map[string]string{types.AnnotationNetworks: `[{"name":"second","deviceID":"d1"}]`}
	kept := &infos{failure: errors.New("busy")}
	n.engine.DeviceInfos = kept
	key := n.deadRecord(t, "c1")
	err := n.engine.Del(t.Context(), n.call)
	if !errors.Is(err, kept.failure) {
		t.Errorf("got %v", err)
	}
	const path = "/infos/default/second/c1/net0"
	if diff := cmp.Diff([]string{path}, kept.removed[:1]); diff != "" {
		t.Error(diff)
	}
	kept.failure, kept.removed = nil, nil
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{path}, kept.removed); diff != "" {
		t.Error(diff)
	}
	if _, err := n.engine.Journal().Read(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record: %v", err)
	}
}
