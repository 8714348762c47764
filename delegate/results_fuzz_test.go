package delegate

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// printedResults are results that nobody could read again once they were printed, and some
// that are right.
var printedResults = []string{
	`{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/s"}],"ips":[{"address":"10.0.0.2/24","interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}`,
	`{"cniVersion":"0.4.0","ips":[null]}`, `{"cniVersion":"0.4.0","ips":[{"version":"6","address":"::1/128"}],"routes":[{"dst":"::/0","gw":"fe80::1"}]}`,
	`{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"0.0.0.0/0"}]},"ip6":null}`, `{}`,
	`{"cniVersion":"1.0.0","ips":[{}]}`, `{"cniVersion":"0.3.1","routes":[{"gw":"10.0.0.1"}]}`, `{"cniVersion":"0.2.0","ip4":{}}`,
	`{"cniVersion":"0.1.0","ip6":{"ip":"::1/128","routes":[{}]}}`, `{"ips":[{"address":"10.0.0.2/24","interface":3}]}`,
	`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.0.0.2/24","interface":-7}]}`,
	`{"cniVersion":"1.1.0","routes":[{"dst":"::ffff:0:0/90","priority":9223372036854775807,"table":-1}]}`,
	`{"cniVersion":"1.1.0","dns":{"nameservers":["\ud800"]},"ips":[{"address":"10.0.0.2/24"}],"ips":[{}]}`,
}

// Whatever a plugin prints, what is taken as its result can be printed in every version, read
// again, and read by a runtime.
func FuzzPluginResult(f *testing.F) {
	for _, seed := range printedResults {
		for _, version := range types.CNIVersions {
			f.Add([]byte(seed), version)
		}
		f.Add([]byte(seed), "0.2.0")
	}
	f.Fuzz(func(t *testing.T, printed []byte, version string) {
		conf, err := json.Marshal(map[string]string{"cniVersion": version})
		if err != nil {
			t.Fatal(err)
		}
		run := &pluginRun{command: "ADD", path: "/p", stdin: conf}
		run.stdout.data = printed
		output, err := run.result()
		if err != nil {
			return
		}
		// As libcni reads it, and attach after it.
		raw, err := invoke.ExecPluginWithResult(t.Context(), "/p", conf, &invoke.Args{}, &answering{output: output})
		if err != nil {
			return
		}
		recorded, err := json.Marshal(raw)
		if err != nil {
			t.Fatalf("it cannot be recorded: %v", err)
		}
		result, _, err := parseResult(recorded)
		if err != nil {
			t.Fatalf("recorded as %s it cannot be read again: %v", recorded, err)
		}
		results := []*current.Result{result, result}
		moveDefaultRoutes(results, 1, routesTo("10.0.0.1", "fe80::1"))
		networkStatus(&types.Attachment{Interface: "eth0"}, result, nil)
		mustBeReadInEveryVersion(t, mergeResults(results[:1]))
		mustBeReadInEveryVersion(t, mergeResults(results))
	})
}

// answering is an executor whose plugin has printed something.
type answering struct {
	executor
	output []byte
}

func (a *answering) ExecPlugin(ctx context.Context, _ string, _ []byte, _ []string) ([]byte, error) {
	return a.output, ctx.Err()
}

// mustBeReadInEveryVersion demands that a result says the same in every version in which
// plexus answers, and that containerd, which does not look at its indexes, can follow it.
func mustBeReadInEveryVersion(t *testing.T, result *current.Result) {
	t.Helper()
	for _, ip := range result.IPs {
		if ip.Interface != nil && (*ip.Interface < 0 || *ip.Interface >= len(result.Interfaces)) {
			t.Errorf("an address of interface %d of %d", *ip.Interface, len(result.Interfaces))
		}
	}
	for _, version := range types.CNIVersions {
		encoded, err := encodeResult(result, version)
		if err != nil {
			t.Fatalf("as %s: %v", version, err)
		}
		if err := types.CheckResult(encoded, version); err != nil {
			t.Errorf("as %s: %v: %s", version, err, encoded)
		}
		again, _, err := parseResult(encoded)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", encoded, err)
		}
		same := slices.EqualFunc(result.IPs, again.IPs, func(a, b *current.IPConfig) bool {
			return a.Address.String() == b.Address.String() && a.Gateway.Equal(b.Gateway)
		}) && slices.EqualFunc(result.Routes, again.Routes, func(a, b *cnitypes.Route) bool {
			return a.Dst.String() == b.Dst.String() && a.GW.Equal(b.GW) && a.Priority == b.Priority && a.MTU == b.MTU
		}) && len(result.Interfaces) == len(again.Interfaces)
		if !same {
			t.Errorf("%s says something else than %v", encoded, result)
		}
	}
}
