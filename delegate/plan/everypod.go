package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// anySandbox stands for a sandbox of the runtime, whose container IDs have this length.
var anySandbox = types.Sandbox{ContainerID: strings.Repeat("0", 64), IfName: "eth0"}

// EveryPod gives the networks that the node's configuration attaches every pod to, as far as
// this node knows them, and refuses what Plan would refuse for each pod. It is not about the
// devices that a pod may lack. Where the facts are silent about a network that is no file of
// confDir, only the API server knows it: it is left out.
func (p *Planner) EveryPod(ctx context.Context, facts *types.Facts) ([]types.Attachment, error) {
	known := *facts
	known.Networks = slices.Clone(facts.Networks)
	b := p.newBuilder(&known, anySandbox)
	b.collectEveryPod()
	for i := range b.wanted {
		b.wanted[i].resourceName = "" // a pod that is given no device is that pod's affair
		b.wanted[i].chained = false   // no result goes before
	}
	b.resolve(ctx)
	if err := ctx.Err(); err != nil {
		b.fault(fmt.Errorf("the networks of every pod: planning did not end in time: %w", err))
	}
	return b.attachments, types.Join(b.faults...)
}

// collectEveryPod finds the networks of a pod that selects none.
func (b *builder) collectEveryPod() {
	b.fault(b.checkRecordName())
	if b.Config.ClusterNetwork == "" {
		b.addDelegate(0, true)
	} else {
		b.addKnown("clusterNetwork", b.Config.ClusterNetwork)
	}
	b.addFurtherDelegates()
	for i, name := range b.Config.DefaultNetworks {
		b.addKnown(fmt.Sprintf("defaultNetworks[%d]", i), name)
	}
	if b.Config.AuxiliaryCNIChainName != "" {
		b.addAuxiliaryChain()
	}
}

// addKnown adds a network that the configuration names, unless only the API server knows it.
func (b *builder) addKnown(field, name string) {
	ref, err := types.ParseRef(name, b.Config.MultusNamespace)
	if named := err == nil && !strings.Contains(name, "/"); named {
		if _, err := b.facts.Network(ref); err != nil {
			if conf, err := b.loader.byName(name); err != nil || conf == nil {
				return
			}
			b.facts.Networks = append(b.facts.Networks, types.Network{Ref: ref, Missing: true})
		}
	}
	b.addConfigured(field, name)
}
