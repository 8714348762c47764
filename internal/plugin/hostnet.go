package plugin

import (
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/plexus-cni/plexus/types"
)

// refuseHostNetwork refuses to attach the host's own network namespace. skel refuses it
// too, but only after the ADD.
func refuseHostNetwork(args *skel.CmdArgs) error {
	if isHostNetwork(args) {
		return types.Errorf(types.CodeInvalidEnv, "CNI_NETNS: %s is the host's own network namespace", args.Netns)
	}
	return nil
}

// dropHostNetwork treats a path to the host's own namespace as no namespace: it was the
// sandbox's, and its number has been given to another process since.
func dropHostNetwork(args *skel.CmdArgs) {
	if isHostNetwork(args) {
		args.Netns = ""
	}
}

// isHostNetwork reports whether a call is about the namespace in which the plugin runs,
// unless CNI_NETNS_OVERRIDE, read as skel reads it, allows that.
func isHostNetwork(args *skel.CmdArgs) bool {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return false
	}
	same, err := ns.CheckNetNS(args.Netns)
	return err == nil && same
}
