package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/types"
)

// SettleVersion gives a list that says no cniVersion the highest that libcni and all its plugins
// speak, of its cniVersions if it has them. Where no plugin can be asked, it gets that of the call.
func (p *Planner) SettleVersion(ctx context.Context, conf *types.NetConf) error {
	if conf.Version() != "" {
		return nil
	}
	if p.Speak == nil {
		conf.SetDefaultVersion(p.Config.CNIVersion)
		return nil
	}
	choice := slices.Clone(version.All.SupportedVersions()) // the oldest first
	if own := conf.Versions(); own != nil {
		choice = slices.DeleteFunc(choice, func(v string) bool { return !slices.Contains(own, v) })
	}
	var said []string
	for plugin, a := range p.askAll(ctx, conf) {
		if a.err != nil {
			p.warn("network %s: plugin %q does not say which versions of CNI it speaks, and is taken for one of the call's: %v", conf.Name, plugin, a.err)
			a.versions = upTo(p.Config.CNIVersion)
		}
		choice = slices.DeleteFunc(choice, func(v string) bool { return !slices.Contains(a.versions, v) })
		said = append(said, fmt.Sprintf("%s (%s)", plugin, listed(a.versions)))
	}
	if len(choice) == 0 {
		slices.Sort(said)
		return &types.FieldError{Field: "cniVersion", Problem: "is missing, and there is no version of CNI that all plugins of the network speak: " + strings.Join(said, ", ")}
	}
	conf.SetVersion(choice[len(choice)-1])
	return nil
}

// listed gives versions for an error, which a plugin may have said any number of.
func listed(versions []string) string {
	const most, longest = 20, 20
	var all []string
	for _, v := range versions[:min(len(versions), most)] {
		all = append(all, fmt.Sprintf("%.*s", longest, v))
	}
	if more := len(versions) - most; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}

// answer is what a plugin says of its versions.
type answer struct {
	versions []string
	err      error
}

// askAll asks every executable that a list reaches, side by side: a plugin hands the version of
// the list on to those that it runs itself.
func (p *Planner) askAll(ctx context.Context, conf *types.NetConf) map[string]*answer {
	answers := map[string]*answer{}
	for i := range conf.Plugins {
		answers[conf.Plugins[i].Type] = &answer{}
		for _, e := range conf.Plugins[i].Executables {
			answers[e.Type] = &answer{}
		}
	}
	var asking sync.WaitGroup
	for plugin, a := range answers {
		asking.Go(func() { a.versions, a.err = p.Speak(ctx, plugin) })
	}
	asking.Wait()
	return answers
}

// upTo gives the versions of CNI up to one.
func upTo(last string) []string {
	all := version.All.SupportedVersions()
	return all[:slices.Index(all, last)+1]
}
