package delegate

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// knowing makes the engine's networks such that they know STATUS.
func (n *specNode) knowing(t *testing.T, plugins ...string) {
	t.Helper()
	n.engine.Config.Delegates = nil
	for _, plugin := range plugins {
		conf := strings.ReplaceAll(specConf(plugin), "1.0.0", "1.1.0")
		n.engine.Config.Delegates = append(n.engine.Config.Delegates, []byte(conf))
	}
}

// Every plugin of every network is asked once, and gets no result to follow.
func TestStatusAsksEveryPlugin(t *testing.T) {
	for name, test := range map[string]struct {
		configure func(n *specNode)
		want      []string
	}{
		"two delegates": {func(*specNode) {}, []string{"chained", "chained", "first", "second"}},
		"a file and an auxiliary chain": {func(n *specNode) {
			n.engine.Config.ClusterNetwork = filepath.Join(n.dir, "net.d", "10-main.conflist")
			n.engine.Config.AuxiliaryCNIChainName, n.engine.Config.CNIVersion = "aux", "1.1.0"
		}, []string{"chained", "first", "third"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			n.knowing(t, "first", "second")
			writeTestFile(t, filepath.Join(n.dir, "net.d", "aux", "1.conf"), `{"type": "third"}`, 0o600)
			writeTestFile(t, filepath.Join(n.dir, "net.d", "10-main.conflist"), string(n.engine.Config.Delegates[0]), 0o600)
			test.configure(n)
			if err := n.engine.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range n.begun(t) {
				got = append(got, c.Plugin)
				if c.Command != "STATUS" || c.Stdin.PrevResult != nil || c.Stdin.CNIVersion != "1.1.0" {
					t.Errorf("%+v", c)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("plugins (-want +got):\n%s", diff)
			}
		})
	}
}

// silentSource knows nothing, for a reason of this node.
type silentSource struct{ *specSource }

func (silentSource) Local(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return nil, types.WithCode(types.CodeInvalidConfig, errors.New("a broken file"))
}

// All that is wrong on this node is in one error, of code 50, and no plugin is asked.
func TestStatusJoinsTheFaultsOfTheNode(t *testing.T) {
	n := newSpecNode(t, "")
	n.knowing(t, "first")
	n.engine.Source = silentSource{n.source}
	n.engine.Config.ReadinessIndicatorFile = filepath.Join(n.dir, "ready")
	n.engine.Config.CNIDir = filepath.Join(n.dir, "bin", "first")
	err := n.engine.Status(t.Context())
	if types.CodeOf(err, 0) != types.CodeNotAvailable {
		t.Fatalf("%v, want code %d", err, types.CodeNotAvailable)
	}
	for _, want := range []string{"readinessindicatorfile: ", "cniDir: ", "a broken file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q: %v", want, err)
		}
	}
	if calls := n.begun(t); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
}

// A call that is ended asks no plugin and is no success.
func TestStatusThatIsEnded(t *testing.T) {
	n := newSpecNode(t, "")
	n.knowing(t, "first")
	ended, end := context.WithCancel(t.Context())
	end()
	if err := n.engine.Status(ended); types.CodeOf(err, 0) != types.CodeNotAvailable {
		t.Errorf("%v, want code %d", err, types.CodeNotAvailable)
	}
	if calls := n.begun(t); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
}

// A record is asked only where the source is silent about the default network.
func TestStatusPrefersTheSource(t *testing.T) {
	n := newSpecNode(t, "")
	n.engine.Config.ClusterNetwork = "net"
	ref := types.Ref{Namespace: n.engine.Config.MultusNamespace, Name: "net"}
	plan := types.Plan{Sandbox: types.Sandbox{ContainerID: "c9", IfName: "eth0"}}
	plan.Attachments = []types.Attachment{{Network: ref.String(), Name: "net", Interface: "eth0", Default: true, Config: specConf("first")}}
	lock, free, err := n.engine.Journal().TryLock("c9")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	intent := types.Intent{Format: types.RecordFormat, BootID: "another-boot", Network: n.engine.Config.Name, Created: time.Now(), Plan: plan}
	if err := lock.Create(n.engine.key(&plan.Sandbox), intent); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		local []types.Network
		want  string
	}{
		"silent":  {nil, "net-of-first"},
		"missing": {[]types.Network{{Ref: ref, Missing: true}}, ""},
		"defined": {[]types.Network{{Ref: ref, Config: specConf("second")}}, "net-of-second"},
	} {
		n.source.local.Networks = test.local
		networks, err := n.engine.localNetworks(t.Context())
		var got string
		if err == nil {
			got = networks[0].Name
		}
		if got != test.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}
