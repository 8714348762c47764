package delegate

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// An interface of another sandbox is no interface of the pod that is missing. One that names
// the pod's, in whatever way, is.
func TestNetnsEventAboutMissingInterfaces(t *testing.T) {
	for sandbox, missing := range map[string]bool{
		"0": false, "a machine": false, "/proc/self/ns/net": false, "/proc/self/ns/mnt": false, "": false,
		"NETNS": true, "/NETNS": true, "c1": true,
	} {
		t.Run(sandbox, func(t *testing.T) {
			n := newSpecSandbox(t, "")
			n.result(t, "chained", `{"cniVersion":"1.0.0","interfaces":[{"name":"eth7","mac":"0","sandbox":"`+sandbox+`"}]}`)
			n.call.Sandbox.ContainerID = "c1"
			n.add(t)
			var warnings []string
			for _, event := range n.source.published[0].Events {
				if event.Reason == types.ReasonNoSuchInterface {
					warnings = append(warnings, event.Message)
				}
			}
			if (len(warnings) > 0) != missing || missing && !strings.Contains(warnings[0], "interface eth7") {
				t.Errorf("warnings %q, want some: %v", warnings, missing)
			}
		})
	}
}
