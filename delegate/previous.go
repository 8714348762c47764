package delegate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/types"
)

// previous gives the result that the runtime handed over as prevResult, nil if it handed over
// none: in ADD that of the plugins before plexus in its list, in CHECK that of the whole ADD.
func (e *Engine) previous() (*current.Result, error) {
	if e.Config.PrevResult == nil {
		return nil, nil
	}
	result, err := parsePrevious(e.Config.PrevResult, e.Config.CNIVersion)
	if err != nil {
		return nil, types.Errorf(types.CodeInvalidConfig, "prevResult: %w", err)
	}
	return result, nil
}

// parsePrevious reads a result. One that does not say its version has that of the call.
func parsePrevious(data []byte, callVersion string) (*current.Result, error) {
	said, err := resultVersion(data)
	if err != nil {
		return nil, err
	}
	if said == "" {
		said = callVersion
		if data, err = withVersion(data, said); err != nil {
			return nil, err
		}
	}
	if err := types.CheckResult(data, said); err != nil {
		return nil, err
	}
	result, _, err := parseResult(data)
	return result, err
}

// follow gives the first plugin of the default network the result of the plugins that the
// runtime ran before plexus, in the version of the network.
func (s *session) follow(a *types.Attachment, list *libcni.NetworkConfigList) (*libcni.NetworkConfigList, error) {
	previous, err := s.previous()
	if err != nil || previous == nil || !a.Default {
		return list, err
	}
	if chains, err := version.GreaterThanOrEqualTo(list.CNIVersion, "0.3.0"); err != nil || !chains {
		s.log.Warn("the version of the network knows no prevResult: its plugins will get none", "network", a.Network, "version", list.CNIVersion)
		return list, err
	}
	encoded, err := encodeResult(previous, list.CNIVersion)
	if err != nil {
		return nil, fmt.Errorf("prevResult: %w", err)
	}
	first, err := libcni.InjectConf(list.Plugins[0], map[string]any{"prevResult": encoded})
	if err != nil {
		return nil, fmt.Errorf("prevResult: %w", err)
	}
	following := *list
	following.Plugins = slices.Concat([]*libcni.PluginConfig{first}, list.Plugins[1:])
	return &following, nil
}

// madeBefore reports whether an interface of the sandbox is in the result of the plugins
// before plexus, which the default network then works on.
func (s *session) madeBefore(a *types.Attachment) bool {
	previous, err := s.previous()
	return err == nil && previous != nil && a.Default && slices.ContainsFunc(previous.Interfaces, func(i *current.Interface) bool {
		return i.Name == a.Interface && s.isHere(i.Sandbox)
	})
}

// checkPrevious compares the runtime's prevResult of a CHECK with what the ADD gave: each
// interface and each address of the default network must be in it. It may have more, in any
// order, and other MACs, MTUs, routes and DNS, for a plugin after plexus may have changed
// them. One that has nothing says nothing.
func (s *session) checkPrevious() error {
	previous, err := s.previous()
	given := s.record.Progress[0].Result
	if err != nil || previous == nil || given == nil || len(previous.Interfaces)+len(previous.IPs) == 0 {
		return err
	}
	ours, _, err := parseResult(given)
	if err != nil {
		return fmt.Errorf("network %s: %w", s.record.Plan.Attachments[0].Network, err)
	}
	if lacking := lackingIn(previous, ours); len(lacking) > 0 {
		return types.Errorf(types.CodeInvalidConfig, "prevResult: is not the result of this sandbox's ADD: it has no %s", strings.Join(lacking, ", no "))
	}
	return nil
}

// lackingIn names the interfaces and the addresses of our result that another does not have.
func lackingIn(other, ours *current.Result) []string {
	var lacking []string
	has := resources(other)
	for _, resource := range resources(ours) {
		if !slices.Contains(has, resource) && !slices.Contains(lacking, resource) {
			lacking = append(lacking, resource)
		}
	}
	return lacking
}

// resources names the interfaces and the addresses of a result. A path may name the same
// sandbox in several ways.
func resources(result *current.Result) []string {
	var all []string
	for _, i := range result.Interfaces {
		where := "of the pod"
		if i.Sandbox == "" {
			where = "of the host"
		}
		all = append(all, fmt.Sprintf("interface %s %s", i.Name, where))
	}
	for _, ip := range result.IPs {
		all = append(all, "address "+ip.Address.String())
	}
	return all
}
