package delegate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// A runtime that keeps libcni's cache in our folder has an entry for Plexus itself there.
// DEL by the cache passes it over.
func TestDelByTheCacheRunsNoPlexus(t *testing.T) {
	n := newSpecNode(t, "second")
	writeTestFile(t, filepath.Join(n.dir, "bin", "plexus"), specScript, 0o755)
	for _, cached := range []struct{ plugin, ifName string }{{"plexus", "eth0"}, {"second", "net0"}} {
		list, err := libcni.NetworkConfFromBytes([]byte(specConf(cached.plugin)))
		if err != nil {
			t.Fatal(err)
		}
		rt := runtimeConf(&types.Attachment{Interface: cached.ifName}, &n.call.Sandbox, "/gone")
		if _, err := n.engine.cni(nil, "c1", n.engine.Config.CNIDir).AddNetworkList(t.Context(), list, rt); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(n.dir, "log")); err != nil {
		t.Fatal(err)
	}
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DEL second net0", "DEL first eth0"}, n.calls(t)); diff != "" {
		t.Error(diff)
	}
}
