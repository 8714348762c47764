package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// speaks makes a wrapped reference plugin say in VERSION that it speaks some versions, and refuse
// every other, as the real one of an older release does. "" makes it say nothing in VERSION.
func speaks(n *node.Node, plugin, versions string) {
	n.Wrap(plugin)
	path := filepath.Join(n.PluginDir, plugin)
	old := n.ReadFile(path)
	answer := `echo '{"cniVersion":"1.1.0","supportedVersions":["` + strings.ReplaceAll(versions, " ", `","`) + `"]}'`
	if versions == "" {
		answer, versions = "echo nothing; exit 1", "0.4.0 1.0.0"
	}
	refuse := `case "$CNI_COMMAND" in
VERSION) echo VERSION ` + plugin + ` >>'` + n.Path("asked") + `'; ` + answer + `; exit 0 ;;
*) said=$(printf %s "$stdin" | tr -d '\n' | sed 's/"prevResult":{.*//; s/.*"cniVersion":"\([0-9.]*\)".*/\1/')
	case " ` + versions + ` " in *" $said "*) ;; *) fail 1 "incompatible CNI versions: $said" ;; esac ;;
esac
`
	n.WriteFile(path, strings.Replace(old, `[ "$CNI_COMMAND" != VERSION ] || {`, refuse+`[ "$CNI_COMMAND" != VERSION ] || {`, 1))
	n.Run("chmod", "700", path)
}

// unversioned is the bridge of Conf, or another network, without a cniVersion.
func unversioned(conf node.Conf) node.Conf { return conf.With(node.Conf{"cniVersion": nil}) }

// versionIn gives the cniVersion of each configuration in the record.
func versionsIn(t *testing.T, record *types.Record) string {
	t.Helper()
	var all []string
	for _, a := range record.Plan.Attachments {
		var list struct{ CNIVersion string }
		check.Must(t, json.Unmarshal([]byte(a.Config), &list))
		all = append(all, list.CNIVersion)
	}
	return strings.Join(all, " ")
}

// A network without a cniVersion is run in the highest that all its plugins speak, whatever the
// runtime's; every verb gets that version, from the record.
func TestNetnsNetworkWithoutAVersion(t *testing.T) {
	for name, test := range map[string]struct {
		bridge, hostLocal, tuning string
		want                      string // of the default network and of the list with tuning
	}{
		"all of the newest":      {"0.4.0 1.0.0 1.1.0", "0.4.0 1.0.0 1.1.0", "0.4.0 1.0.0 1.1.0", "1.1.0 1.1.0"},
		"plugins of 1.0.0":       {"0.3.1 0.4.0 1.0.0", "0.3.1 0.4.0 1.0.0", "0.3.1 0.4.0 1.0.0", "1.0.0 1.0.0"},
		"IPAM is older":          {"0.4.0 1.0.0 1.1.0", "0.3.1 0.4.0 1.0.0", "0.4.0 1.0.0 1.1.0", "1.0.0 1.0.0"},
		"the second is older":    {"0.4.0 1.0.0 1.1.0", "0.3.1 0.4.0 1.0.0 1.1.0", "0.3.1 0.4.0", "1.1.0 0.4.0"},
		"one of no order":        {"1.0.0 0.4.0", "1.0.0 0.3.1 0.4.0", "0.4.0", "1.0.0 0.4.0"},
		"one that says nothing":  {"0.4.0 1.0.0", "0.4.0 1.0.0 1.1.0", "", "1.0.0 1.0.0"},
		"one of an unknown, too": {"0.4.0 1.0.0 9.9.9", "0.4.0 1.0.0 9.9.9", "1.0.0 9.9.9", "1.0.0 1.0.0"},
	} {
		for _, runtime := range []string{"0.4.0", "1.1.0"} {
			t.Run(name+", the runtime of "+runtime, func(t *testing.T) {
				n := node.New(t)
				speaks(n, "bridge", test.bridge)
				speaks(n, "host-local", test.hostLocal)
				speaks(n, "tuning", test.tuning)
				second := node.List("second", "", node.Bridge("br2", "10.3.0.0/16"), node.Conf{"type": "tuning", "mtu": 1400})
				n.Network("second", unversioned(second))
				n.PodWith("c1", "second")
				pod, conf := n.Sandbox("c1"), n.Conf(node.Conf{"cniVersion": runtime, "delegates": []node.Conf{unversioned(node.ClusterBridge())}})
				want := test.want
				if runtime == "0.4.0" && test.tuning == "" {
					want = "1.0.0 0.4.0" // what is not said is not taken for newer than the call
				}
				added := n.Add(pod, conf)
				check.Equal(t, "versions", versionsIn(t, n.Record(pod)), want)
				check.Equal(t, "MTU", pod.Interfaces()["net0"].MTU, 1400)
				asked := strings.Fields(strings.ReplaceAll(n.ReadFile(n.Path("asked")), "VERSION ", ""))
				check.Equal(t, "plugins asked, each once", len(asked), 3)
				n.Check(pod, prevResult(conf, added))
				n.Del(pod, prevResult(conf, added))
				check.Equal(t, "plugins asked in all", n.ReadFile(n.Path("asked")), "VERSION "+strings.Join(asked, "\nVERSION ")+"\n")
				n.MustBeClean()
			})
		}
	}
}

// No plugin is asked for a network that says its version, and none that may not run.
func TestNetnsVersionIsAskedOnlyWhereItIsMissing(t *testing.T) {
	n := node.New(t)
	speaks(n, "bridge", "0.4.0 1.0.0 1.1.0")
	speaks(n, "macvlan", "1.0.0")
	n.Network("second", unversioned(node.Bridge("br2", "10.3.0.0/16")).With(node.Conf{"type": "macvlan"}))
	n.Network("choice", unversioned(node.List("choice", "", node.Bridge("br3", "10.4.0.0/16"))).With(node.Conf{"cniVersions": []string{"0.3.0", "1.0.0", "0.4.0"}}))
	pod := n.Sandbox("c1")
	n.PodWith("c1", "second")
	conf := n.Conf(node.Conf{"allowedPlugins": node.Conf{"*": []string{"bridge", "host-local"}}})
	check.Contains(t, "error", call(n, "ADD", pod, conf).Fails(7).Msg, `plugin "macvlan" is not allowed`)
	n.Pod("c1", nil)
	n.Add(pod, conf)
	n.Del(pod, conf)
	if asked, err := os.ReadFile(n.Path("asked")); err == nil {
		t.Errorf("plugins were asked: %s", asked)
	}
	n.PodWith("c1", "choice")
	n.Add(pod, conf)
	check.Equal(t, "versions", versionsIn(t, n.Record(pod)), "1.0.0 1.0.0") // the highest of its choice
	n.Del(pod, conf)
	n.MustBeClean()
}

// Where there is no version that all speak, nothing runs, and the error says who speaks what.
func TestNetnsNoVersionThatAllSpeak(t *testing.T) {
	n := node.New(t)
	speaks(n, "bridge", "1.0.0 1.1.0")
	speaks(n, "host-local", "0.3.1 0.4.0")
	n.Network("second", unversioned(node.Bridge("br2", "10.3.0.0/16")))
	n.PodWith("c1", "second")
	failure := call(n, "ADD", n.Sandbox("c1"), n.Conf(nil)).Fails(7)
	check.Contains(t, "error", failure.Msg, "network default/second", "cniVersion: is missing", "bridge (1.0.0, 1.1.0), host-local (0.3.1, 0.4.0)")
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}

// STATUS asks the default network's plugins in a version that they speak, and so does a DEL of a
// sandbox that has no record.
func TestNetnsVersionOfStatusAndOfDelWithoutRecord(t *testing.T) {
	n := node.New(t)
	speaks(n, "bridge", "0.4.0 1.0.0")
	speaks(n, "host-local", "0.4.0 1.0.0")
	conf := n.Conf(node.Conf{"cniVersion": "1.1.0", "delegates": []node.Conf{unversioned(node.ClusterBridge())}})
	status(n, conf).OK()
	check.Equal(t, "calls of STATUS", n.CallNames(), []string{}) // 1.0.0 has no such verb
	pod := n.Sandbox("c1")
	n.Del(pod, conf)
	check.Equal(t, "calls of DEL", n.CallNames(), []string{"DEL bridge eth0", "DEL host-local eth0"})
}

// The first plugin of the auxiliary chain gets its empty result in the chain's own version.
func TestNetnsVersionOfAnAuxiliaryChain(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			n, pod, conf := chained(t, []node.Conf{{"type": "tuning", "sysctl": node.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}}})
			speaks(n, "tuning", version)
			added := n.Add(pod, conf)
			check.Equal(t, "versions", versionsIn(t, n.Record(pod)), "1.0.0 1.0.0 "+version)
			var previous struct{ CNIVersion string }
			for _, c := range n.Calls() {
				if c.Plugin == "tuning" {
					check.Must(t, json.Unmarshal(c.Config["prevResult"], &previous))
				}
			}
			check.Equal(t, "version of prevResult", previous.CNIVersion, version)
			n.Check(pod, prevResult(conf, added))
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}
