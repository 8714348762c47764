package delegate

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of several gateways the first one is preferred, in each family.
func TestNetnsFirstGatewayIsPreferred(t *testing.T) {
	sandbox := twoLinks(t)
	if err := sandbox.setDefaultRoutes("net0", []string{"10.2.0.9", "fd00:2::9", "10.2.0.1", "fd00:2::1", "10.2.0.2"}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		family
		want []string // gateway and metric
	}{
		{ipv4, []string{"10.2.0.1 1", "10.2.0.2 2", "10.2.0.9 0"}},
		{ipv6, []string{"fd00:2::1 1025", "fd00:2::9 1024"}},
	} {
		routes, err := sandbox.defaults(tc.family)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range routes {
			got = append(got, fmt.Sprintf("%v %d", routes[i].Gw, routes[i].Priority))
		}
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
