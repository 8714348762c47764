package delegate

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// One that hangs, the last of libcni's cache, leaves its time to the default network.
func TestDelByTheCacheWithAPluginThatHangs(t *testing.T) {
	n := newSpecNode(t, "second,third")
	n.engine.Config.DelegateTimeout = types.Duration(time.Minute)
	plan, err := n.engine.plan(t.Context(), n.call)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plan.Attachments[1:] {
		a := &plan.Attachments[1+i]
		list, err := listOf(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.engine.cni(nil, "c1", n.engine.Config.CNIDir).AddNetworkList(t.Context(), list, runtimeConf(a, &plan.Sandbox, "/gone")); err != nil {
			t.Fatal(err)
		}
	}
	n.hang(t, "third")
	if err := os.Remove(filepath.Join(n.dir, "log")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := n.engine.Del(ctx, n.call); err == nil || !strings.Contains(err.Error(), "third (DEL): did not end") || strings.Contains(err.Error(), "first") {
		t.Errorf("DEL gives %v", err)
	}
	if diff := cmp.Diff([]string{"DEL second net0", "DEL third net1", "DEL first eth0"}, n.calls(t)); diff != "" {
		t.Error(diff)
	}
}

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
