package node

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// addresses gives the addresses of every interface in the sandbox's namespace but the
// loopback.
func (s *sandbox) addresses() map[string][]string {
	s.node.t.Helper()
	all := map[string][]string{}
	for name, iface := range s.Interfaces() {
		all[name] = []string{}
		for _, addr := range iface.Addrs {
			address, _, _ := strings.Cut(addr, "/")
			all[name] = append(all[name], address)
		}
	}
	return all
}

func toJSON(t testing.TB, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	check.Must(t, err)
	return string(data)
}
