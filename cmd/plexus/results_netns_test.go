package main

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// prints makes a plugin print a result in ADD.
func prints(n *node.Node, result string) {
	n.Plugin("odd", `[ "$CNI_COMMAND" != ADD ] || printf %s '`+result+`'`)
}

func oddNetwork() node.Conf {
	return node.Conf{"cniVersion": "1.0.0", "name": "odd", "type": "odd"}
}

// A result that nobody could read again fails the ADD, which is undone. The error says
// where in the result.
func TestNetnsResultThatNobodyCanRead(t *testing.T) {
	for field, result := range map[string]string{
		"ips[0].address":                     `{"cniVersion":"1.0.0","ips":[{}]}`,
		"routes[0].dst":                      `{"cniVersion":"1.0.0","routes":[{}]}`,
		"ips[1]":                             `{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24"},null]}`,
		"interfaces[0].name":                 `{"cniVersion":"0.3.1","interfaces":[{"mac":"02:00:00:00:00:01"}]}`,
		"ip4.routes[0].dst":                  `{"cniVersion":"0.2.0","ip4":{"ip":"10.9.0.2/24","routes":[{"gw":"10.9.0.1"}]}}`,
		"dns.search":                         `{"dns":{"search":"example.com"}}`,
		"routes[0].priority":                 `{"cniVersion":"1.1.0","routes":[{"dst":"10.0.0.0/8","priority":9223372036854775807}]}`,
		"cniVersion":                         `{"cniVersion":"9.9.9"}`,
		"read again what was recorded of it": `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mtu":9223372036854775807,"mtu":null}]}`,
	} {
		t.Run(field, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			prints(n, result)
			n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
			n.Network("odd", node.List("odd", "1.0.0", node.Bridge("br3", "10.4.0.0/16"), oddNetwork()))
			pod, conf := n.Sandbox("c1"), n.Conf(node.Conf{"delegates": []node.Conf{oddNetwork()}})
			n.PodWith("c1", "second")
			failure := call(n, "ADD", pod, conf).Fails(100)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "network odd as eth0", field)
			if field != "read again what was recorded of it" {
				check.Contains(t, "error", failure.Msg, "plugin odd (ADD): ended with success but nobody can read its result: "+field+": ")
			}
			check.Equal(t, "calls", n.CallNames(), []string{"ADD odd eth0", "DEL odd eth0"})
			n.MustBeClean()

			// At the end of a selected network's list.
			n.PodWith("c1", "second, odd")
			failure = call(n, "ADD", pod, n.Conf(nil)).Fails(100)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "network default/odd as net1", field)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}

// What a runtime would stumble over, and what has an unmistakable meaning, is printed so
// that it can be read; what was recorded is what CHECK reads.
func TestNetnsResultIsPrintedReadable(t *testing.T) {
	for name, result := range map[string]string{
		"an index of none":      `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.9.0.2/24","interface":-1}]}`,
		"an index at the end":   `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.9.0.2/24","interface":1}]}`,
		"an index of no list":   `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.9.0.2/24","interface":0}]}`,
		"a gateway of none":     `{"cniVersion":"0.4.0","ips":[{"address":"10.9.0.2/24","gateway":""}]}`,
		"an IPv6 spelling":      `{"cniVersion":"1.1.0","ips":[{"address":"::ffff:10.9.0.2/120"}]}`,
		"no version":            `{"ips":[{"address":"10.9.0.2/24"}],"routes":null}`,
		"an older one":          `{"cniVersion":"0.2.0","ip4":{"ip":"10.9.0.2/24"},"ip6":null}`,
		"keys that nobody knew": `{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24","x":{}}],"ip4":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			prints(n, result)
			n.Pod("c1", nil)
			for _, version := range []string{"0.4.0", "1.1.0"} {
				pod, conf := n.Sandbox("c1"), n.Conf(node.Conf{"cniVersion": version, "delegates": []node.Conf{oddNetwork()}})
				added := n.Add(pod, conf)
				check.Equal(t, "addresses", addresses(added.Result), []string{"10.9.0.2/24"})
				if i := added.Result.IPs[0].Interface; i != nil {
					t.Errorf("an address of the interface %d: %s", *i, added.Stdout)
				}
				n.Check(pod, prevResult(conf, added))
				n.Del(pod, conf)
				pod.Destroy()
			}
			n.MustBeClean()
		})
	}
}

// Only an interface whose `sandbox` is the pod's namespace is the pod's: not what Amazon's VPC
// plugin keeps in it, nor an interface of another pod. Another path to the namespace is the same.
func TestNetnsInterfacesOfOtherSandboxes(t *testing.T) {
	for name, test := range map[string]struct {
		sandbox string // of the second interface; POD and OTHER are namespaces
		want    bool   // whether it is the pod's
	}{
		"Amazon's VPC plugin": {"0", false},
		"a word":              {"the host", false},
		"a file":              {"/etc/hostname", false},
		"another pod":         {"OTHER", false},
		"a namespace gone":    {"/run/netns/gone", false},
		"as it was called":    {"POD", true},
		"through a link":      {"LINK", true},
		"a process's":         {"/proc/self/root/POD", true},
		"the container's ID":  {"c1", true},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Pod("c1", nil)
			pod, other := n.Sandbox("c1"), n.Sandbox("c2")
			link := n.Path("link")
			n.Run("ln", "-s", pod.Path, link)
			sandbox := strings.NewReplacer("POD", pod.Path, "OTHER", other.Path, "LINK", link).Replace(test.sandbox)
			dummy := `{"name":"dummy123","mac":"0","sandbox":"` + sandbox + `"}`
			n.Plugin("vpc", `[ "$CNI_COMMAND" != ADD ] || {
	nsenter --net="$CNI_NETNS" ip link add eth0 type veth peer name other
	echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eni1"},{"name":"eth0","sandbox":"'"$CNI_NETNS"'"},`+dummy+`],"ips":[{"address":"10.9.0.2/24","interface":1}]}'
}`)
			conf := n.Conf(node.Conf{"delegates": []node.Conf{{"cniVersion": "1.0.0", "name": "vpc", "type": "vpc"}}})
			added := n.Add(pod, conf)
			var names []string
			for _, entry := range n.Record(pod).Status {
				names = append(names, entry.Interface+" "+strings.Join(entry.IPs, ","))
			}
			want := []string{"eth0 10.9.0.2"}
			if test.want {
				want = append(want, "dummy123 ")
			}
			check.Equal(t, "interfaces in the status", names, want)
			n.Calls()
			n.Del(pod, prevResult(conf, added))
			given := n.Calls()[0].Config["prevResult"]
			check.Contains(t, "what DEL gets", string(given), `"sandbox":"`+sandbox+`"`)
		})
	}
}
