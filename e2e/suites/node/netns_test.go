package node

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// addresses gives the IPv4 addresses of every interface in the sandbox's namespace but
// the loopback.
func (s *sandbox) addresses() map[string][]string {
	s.node.t.Helper()
	out, err := exec.Command("ip", "-n", s.id, "-json", "address", "show").Output()
	check.Must(s.node.t, err)
	var links []struct {
		IfName string `json:"ifname"`
		Addrs  []struct {
			Family string `json:"family"`
			Local  string `json:"local"`
		} `json:"addr_info"`
	}
	check.Must(s.node.t, json.Unmarshal(out, &links))
	all := map[string][]string{}
	for _, link := range links {
		if link.IfName == "lo" {
			continue
		}
		all[link.IfName] = []string{}
		for _, addr := range link.Addrs {
			if addr.Family == "inet" {
				all[link.IfName] = append(all[link.IfName], addr.Local)
			}
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
