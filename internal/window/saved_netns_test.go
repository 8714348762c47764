//go:build linux

package window

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/worlds"
	"github.com/plexus-cni/plexus/types"
)

// takenOf takes a snapshot of a node whose folders are below one of the test. Its runtime's folder is confDir.
func takenOf(t *testing.T, dir, confDir string) *inspect.Snapshot {
	t.Helper()
	write(t, confDir, "zz-plexus.conf", `{"cniVersion": "1.1.0", "name": "outer", "type": "plexus", "binDir": "`+dir+`/bin", "agentSocket": "", "delegates": [{"type": "bridge"}]}`)
	s, err := collect.Node(collect.Options{CNI: true, WithConfig: true, Brief: true, ConfDir: confDir, StateDir: filepath.Join(dir, "state")})
	check.Must(t, err)
	data, err := s.Bytes()
	check.Must(t, err)
	read, err := inspect.Parse(data)
	check.Must(t, err)
	return read
}

// notInSnapshot are the worlds that are refused for files that no snapshot has: of other folders, or no JSON.
var notInSnapshot = []string{
	"TestPlanNetworksRefused/a broken file by path", "TestPlanNetworksRefused/a broken file of a subfolder", "TestPlanNetworksRefused/an empty folder",
	"TestPlanNetworksRefused/confDir is a file", "TestPlanNetworksRefused/defaultNetworks are nowhere",
}

// assumedAway is refused for a folder that a snapshot does not have. The plan says that it assumes it empty.
const assumedAway = "TestPlanNetworksRefused/a broken auxiliary chain"

// A plan by the snapshot of a node has the verdict of an ADD on that node, word for word, or says that it does
// not know one.
func TestNetnsVerdictBySnapshotIsThatOfADD(t *testing.T) {
	answered := 0
	for name, world := range worlds.Read(t, refusedWorlds) {
		if name == assumedAway {
			continue
		}
		t.Run(name, func(t *testing.T) {
			known := false
			for _, confDir := range []string{"net.d", "."} {
				dir := t.TempDir()
				w := madeIn(t, &world, dir)
				if info, err := os.Stat(filepath.Join(dir, confDir)); err == nil && !info.IsDir() {
					continue
				}
				n := &node{saved: takenOf(t, dir, filepath.Join(dir, confDir)), file: "00-plexus.conf"}
				n.parse([]byte(w.Config))
				pod, err := n.explain(t.Context(), &types.Facts{Pod: w.Pod, Networks: w.Facts, Devices: w.Devices, Claimed: w.Claimed}, false)
				if unknown := new(unknownFileError); errors.As(err, &unknown) {
					continue
				}
				check.Must(t, err)
				known = true
				add := addError(t, &w, dir)
				check.Equal(t, "verdict", pod.Refused, &explain.Refusal{Code: types.CodeOf(add, 0), Message: add.Error()})
			}
			check.Equal(t, "a verdict is known", known, !slices.Contains(notInSnapshot, name))
			answered++
		})
	}
	if answered < 80 {
		t.Errorf("only %d worlds", answered)
	}
}
