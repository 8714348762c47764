package delegate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// What reviews have found, as far as it needs no network namespace.

func TestStatusOfAnAddressThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"an empty address": `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{}]}`,
		"a gateway alone":  `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{"gateway":"192.0.2.1","interface":0}]}`,
		"no interface":     `{"ips":[{"gateway":"192.0.2.1"}]}`,
		"no destination":   `{"routes":[{"gw":"192.0.2.1"}],"ips":[{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			status := networkStatus(&types.Attachment{Network: "default/n", Interface: "net0", Gateways: []string{"192.0.2.1"}}, resultOf(t, text), nil)
			if said, err := types.FormatStatus(status); err != nil || strings.Contains(said, "nil") {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

// The index -1 names no interface, wherever the result comes to stand.
func TestMergeKeepsAnAddressUnbound(t *testing.T) {
	first := resultOf(t, `{"interfaces":[{"name":"eth0","sandbox":"/s"}],"ips":[{"address":"192.0.2.7/24","interface":0}]}`)
	second := resultOf(t, `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{"address":"198.51.100.7/24","interface":-1},{"address":"198.51.100.8/24","interface":0},{"address":"198.51.100.9/24"}]}`)
	var got []int
	for _, ip := range mergeResults([]*current.Result{first, second}).IPs {
		index := -9
		if ip.Interface != nil {
			index = *ip.Interface
		}
		got = append(got, index)
	}
	if diff := cmp.Diff([]int{0, -9, 1, -9}, got); diff != "" {
		t.Error(diff)
	}
}

// Only the main table's default route is moved in the namespace.
func TestMoveDefaultRoutesOfTheMainTable(t *testing.T) {
	first := resultOf(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":100},{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":254},{"dst":"0.0.0.0/0","gw":"192.0.2.1"}]}`)
	results := []*current.Result{first, resultOf(t, `{}`)}
	moveDefaultRoutes(results, 1, []string{"198.51.100.1"})
	tables := func(routes []*cnitypes.Route) (all []int) {
		for _, route := range routes {
			table := 0
			if route.Table != nil {
				table = *route.Table
			}
			all = append(all, table)
		}
		return all
	}
	if diff := cmp.Diff([][]int{{100}, {0}}, [][]int{tables(results[0].Routes), tables(results[1].Routes)}); diff != "" {
		t.Error(diff)
	}
}

// The specification: a route without gw has the gateway of the addresses.
func TestGatewayOfADefaultRouteWithoutOne(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"of its family":       {`{"ips":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"},{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`, []string{"192.0.2.1", "2001:db8::1"}},
		"its own before that": {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.2"}]}`, []string{"192.0.2.2"}},
		"none of its family":  {`{"ips":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"}],"routes":[{"dst":"0.0.0.0/0"}]}`, nil},
		"of another table":    {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0","table":100}]}`, nil},
		"no default route":    {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"198.51.100.0/24"}]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			status := networkStatus(&types.Attachment{Network: "podnet", Interface: "eth0", Default: true}, resultOf(t, test.text), nil)
			if len(status) != 1 {
				t.Fatalf("%d entries", len(status))
			}
			if diff := cmp.Diff(test.want, status[0].Gateway); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// hang makes a plugin note its calls and never end.
func (n *specNode) hang(t *testing.T, plugin string) {
	t.Helper()
	never, _ := fifo(t)
	text := strings.Replace(specScript, "note begin\n", "note begin\nread x <"+never+"\n", 1)
	writeTestFile(t, filepath.Join(n.dir, "bin", plugin), text, 0o755)
}

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

// deadRecord is the record of a sandbox that is gone, all of whose networks were tried.
func (n *specNode) deadRecord(t *testing.T, containerID string) journal.Key {
	t.Helper()
	plan, err := n.engine.plan(t.Context(), n.call)
	if err != nil {
		t.Fatal(err)
	}
	plan.Sandbox.ContainerID = containerID
	lock, free, err := n.engine.Journal().TryLock(containerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	key := n.engine.key(&plan.Sandbox)
	intent := types.Intent{Format: types.RecordFormat, BootID: "another-boot", Network: n.engine.Config.Name, Created: time.Now(), Plan: *plan}
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
	return key
}

// A plugin that hangs has all the time of one call, but neither that of the record's
// other networks at the next, nor that of other records.
func TestDeadRecordWithAPluginThatHangs(t *testing.T) {
	n := newSpecNode(t, "second,third")
	n.engine.Config.DelegateTimeout = types.Duration(time.Minute)
	n.hang(t, "third") // the first to be released
	stuck, other := n.deadRecord(t, "c1"), n.deadRecord(t, "c2")
	release := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n.engine.releaseIfDead(ctx, stuck)
	}
	release()
	if diff := cmp.Diff([]journal.Key{other, stuck}, n.engine.deadKeys()); diff != "" {
		t.Errorf("the order of the next call: %s", diff)
	}
	for range 2 { // the second for a machine that is slow
		release()
	}
	record, err := n.engine.Journal().Read(stuck)
	if err != nil {
		t.Fatal(err)
	}
	if pending := record.Pending(n.engine.BootID); !slices.Equal(pending, []int{2}) {
		t.Errorf("still to be released: %v", pending)
	}
}
