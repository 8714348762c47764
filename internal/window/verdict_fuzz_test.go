package window

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/worlds"
	"github.com/plexus-cni/plexus/types"
)

// FuzzExplainAnswersAsADD puts a pod with two networks through explain and through an ADD. Where
// one refuses, so does the other, with the same error and code.
func FuzzExplainAnswersAsADD(f *testing.F) {
	for _, world := range worlds.Read(f, refusedWorlds) {
		config := ""
		if len(world.Facts) > 0 {
			config = world.Facts[0].Config
		}
		f.Add(world.Config, world.Pod.Annotations[types.AnnotationNetworks], world.Pod.Annotations[types.AnnotationDefaultNetwork], config)
	}
	dir := f.TempDir()
	for _, plugin := range []string{"bridge", "macvlan", "host-local", "tuning", "calico", "flannel"} {
		path := filepath.Join(dir, "bin", plugin)
		check.Must(f, os.MkdirAll(filepath.Dir(path), 0o755))
		check.Must(f, os.WriteFile(path, []byte("#!/bin/false\n"), 0o700)) //nolint:gosec // plugins must be executable
	}
	f.Fuzz(func(t *testing.T, config, networks, first, network string) {
		pod := types.Pod{Namespace: "default", Name: "web", Annotations: map[string]string{
			types.AnnotationNetworks: networks, types.AnnotationDefaultNetwork: first,
		}}
		world := worlds.World{Config: config, Pod: pod, Facts: factsOf(&pod, config, network)}
		w := madeIn(t, &world, dir)
		parsed, _, err := types.ParseConfig([]byte(w.Config))
		if err == nil && !slices.Contains(version.All.SupportedVersions(), parsed.CNIVersion) {
			return // no runtime calls with it
		}
		if err == nil && (parsed.BinDir != filepath.Join(dir, "bin") || parsed.PrevResult != nil || parsed.ReadinessIndicatorFile != "") {
			return // of ADD alone, before it plans
		}
		verdict, err := onNode(t, w.Config).explain(t.Context(), &types.Facts{Pod: w.Pod, Networks: w.Facts}, false)
		check.Must(t, err)
		add := addError(t, &w, dir)
		if verdict.Refused == nil && types.CodeOf(add, 0) == types.CodeInvalidEnv {
			return // it is planned, and there is no namespace to attach
		}
		check.Equal(t, "verdict", verdict.Refused, &explain.Refusal{Code: types.CodeOf(add, types.CodeFailed), Message: add.Error()})
	})
}

// factsOf says of every network that the pod or the node names that it has a configuration.
func factsOf(pod *types.Pod, config, network string) []types.Network {
	refs := pod.SelectedRefs(types.DefaultNamespace)
	if parsed, _, err := types.ParseConfig([]byte(config)); err == nil {
		refs = append(pod.SelectedRefs(parsed.MultusNamespace), plan.ConfiguredRefs(parsed)...)
	}
	var networks []types.Network
	for i, ref := range types.UniqueRefs(refs) {
		networks = append(networks, types.Network{Ref: ref, Config: network, Missing: i == 3})
	}
	return networks
}
