package vhostuser

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/statefile"
)

// The file that the first versions wrote for an ADD of node.conf; DIR stands for the
// node's folder. A node is upgraded, and downgraded, with pods running.
const (
	firstName  = "vhuecbc35f3ca15.json"
	firstState = `{"format":1,"network":"fast","containerID":"c1","ifname":"net0","netns":"/run/netns/x","args":"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID=u1","ovsdb":"unix:/var/run/openvswitch/db.sock","port":"vhuecbc35f3ca15","timeout":10000000000,"ipam":"fake","place":{"base":"DIR/s","dirs":["u1","net0"],"socket":"vhost.sock","config":"config.json"},"deviceInfo":"DIR/info/f","config":{"bridge":"br0","cniVersion":"1.1.0","gid":0,"ipam":{"type":"fake"},"mtu":2000,"name":"fast","queues":2,"runtimeConfig":{"CNIDeviceInfoFile":"DIR/info/f"},"socketDir":"DIR/s","stateDir":"DIR/state","type":"plexus-vhostuser","uid":0,"vlan":7},"appConfig":"ewogICJ2ZXJzaW9uIjogMSwKICAibmV0d29yayI6ICJmYXN0IiwKICAiaW50ZXJmYWNlIjogIm5ldDAiLAogICJjb250YWluZXJJRCI6ICJjMSIsCiAgInNvY2tldCI6ICIvcnVuL3Zob3N0dXNlci9uZXQwL3Zob3N0LnNvY2siLAogICJtb2RlIjogInNlcnZlciIsCiAgInF1ZXVlcyI6IDIsCiAgIm10dSI6IDIwMDAsCiAgImlwcyI6IFsKICAgIHsKICAgICAgImludGVyZmFjZSI6IDAsCiAgICAgICJhZGRyZXNzIjogIjEwLjkuMC4yLzI0IiwKICAgICAgImdhdGV3YXkiOiAiMTAuOS4wLjEiCiAgICB9CiAgXSwKICAicm91dGVzIjogWwogICAgewogICAgICAiZHN0IjogIjAuMC4wLjAvMCIKICAgIH0KICBdLAogICJkbnMiOiB7CiAgICAiZG9tYWluIjogImQiCiAgfQp9"}`
)

func TestStateOfTheFirstVersions(t *testing.T) {
	n := newNode(t)
	asRoot := map[string]any{"uid": 0, "gid": 0}
	written := strings.ReplaceAll(firstState, "DIR", n.dir)
	if os.Getuid() == 0 { // who else cannot give a folder to root, as that ADD did
		n.add("c1", asRoot)
		today, err := os.ReadFile(filepath.Join(n.dir, "state", firstName))
		must(t, err)
		if diff := cmp.Diff(written, string(today)); diff != "" {
			t.Errorf("what is written today (-first +today):\n%s", diff)
		}
		must(t, os.Remove(filepath.Join(n.dir, "state", firstName)))
	} else {
		n.add("c1", nil)
	}

	// The other way round: a folder as they left it. The configuration of this DEL leads
	// nowhere, so that it must go by the state.
	must(t, host.MakeDir(filepath.Join(n.dir, "state")))
	must(t, os.WriteFile(filepath.Join(n.dir, "state", firstName), []byte(written), 0o600))
	must(t, n.plugin.Del(t.Context(), n.call("c1", map[string]any{"socketDir": "/elsewhere", "bridge": "other", "ipam": nil, "runtimeConfig": nil})))
	n.mustBeClean("after DEL")
}

// A state of a newer version says nothing to this one: DEL fails, and leaves it alone.
func TestStateOfANewerVersion(t *testing.T) {
	n := newNode(t)
	n.add("c1", nil)
	path := filepath.Join(n.dir, "state", firstName)
	must(t, os.WriteFile(path, []byte(`{"format":2,"place":"elsewhere"}`), 0o600))
	before := n.left()
	for _, verb := range []func() error{
		func() error { return n.plugin.Del(t.Context(), n.call("c1", nil)) },
		func() error { _, err := n.plugin.Add(t.Context(), n.call("c1", nil)); return err },
	} {
		if err := verb(); !errors.Is(err, statefile.ErrNewer) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v", err)
		}
	}
	if diff := cmp.Diff(before, n.left()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A writer of the state that was killed leaves it under another name; DEL removes it,
// though there is no state.
func TestUnfinishedState(t *testing.T) {
	n := newNode(t)
	must(t, host.MakeDir(filepath.Join(n.dir, "state")))
	must(t, os.WriteFile(filepath.Join(n.dir, "state", firstName+".new"), []byte("{"), 0o600))
	must(t, n.plugin.Del(t.Context(), n.call("c1", nil)))
	n.mustBeClean("after DEL")
}
