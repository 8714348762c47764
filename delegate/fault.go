package delegate

import (
	"errors"
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// faultOf gives whose fault it is that a call failed, "" if it did not. A pod that asks for
// nothing cannot ask for it wrongly, and only an ADD is asked for something new.
func (c *Call) faultOf(command string, err error) string {
	switch {
	case err == nil:
		return ""
	case command != "ADD" || c.selectsNone:
		return types.FaultNode
	}
	if fault := types.FaultOf(err); fault != "" {
		return fault
	}
	return types.FaultOfCode(codeOf(err))
}

// selectsNone reports whether a pod gets what the node gives to every pod, and asks for nothing.
func selectsNone(annotations map[string]string) bool {
	return annotations[types.AnnotationNetworks] == "" && annotations[types.AnnotationDefaultNetwork] == ""
}

// isPlain reports whether a pod gets its default network alone, and asked for nothing.
func (e *Engine) isPlain(annotations map[string]string) bool {
	return selectsNone(annotations) &&
		len(e.Config.DefaultNetworks) == 0 && len(e.Config.Delegates) <= 1 && e.Config.AuxiliaryCNIChainName == ""
}

// attachError names the attachment that failed, and says whose fault it is.
func attachError(a *types.Attachment, err error) error {
	return types.WithFault(faultOfAttach(a, err), fmt.Errorf("attach network %s as %s: %w", a.Network, a.Interface, err))
}

// faultOfAttach: what a plugin says of a network that the pod selects may be about the network as
// well as about the node. A plugin that crashed, hung or asks for patience says nothing of it.
func faultOfAttach(a *types.Attachment, err error) string {
	if !a.Selected {
		return types.FaultNode
	}
	code := codeOf(err)
	if fault := types.FaultOfCode(code); fault == types.FaultUser {
		return fault
	}
	switch code {
	case types.CodeIOFailure, types.CodeTryAgainLater, types.CodeNotAvailable, types.CodeLimitedConnectivity:
		return types.FaultNode
	}
	var said *PluginError
	if errors.As(err, &said) && said.answered {
		return types.FaultNetwork
	}
	return types.FaultNode
}

// interfaceExists refuses an attachment whose interface is in the namespace already: what the pod
// named so, or what the runtime left there.
func interfaceExists(a *types.Attachment) error {
	err := types.Errorf(types.CodeInvalidEnv, "interface: the pod's network namespace has an interface %q already", a.Interface)
	if a.Selected {
		return types.WithFault(types.FaultUser, err)
	}
	return types.WithFault(types.FaultNode, err)
}
