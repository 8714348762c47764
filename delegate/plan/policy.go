package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// anyNamespace stands for every namespace in allowedPlugins and defaultNetworkNamespaces.
const anyNamespace = "*"

// maySelect holds the namespace isolation: with it, a pod may name the networks of
// its own namespace and of the global ones.
func (b *builder) maySelect(namespace string) error {
	if !b.Config.NamespaceIsolation || b.isOwnOrGlobal(namespace) {
		return nil
	}
	return fmt.Errorf("namespace isolation is on: a pod of namespace %q may name networks of its own namespace and of %s only",
		b.facts.Pod.Namespace, list(b.Config.GlobalNamespaces))
}

// mayBeDefault reports whether a network of the namespace may be chosen by annotation
// to make a pod's first interface.
func (b *builder) mayBeDefault(namespace string) error {
	allowed := b.Config.DefaultNetworkNamespaces
	if slices.Contains(allowed, namespace) || slices.Contains(allowed, anyNamespace) {
		return nil
	}
	if b.Config.NamespaceIsolation && b.isOwnOrGlobal(namespace) {
		return nil
	}
	return &types.AnnotationError{Annotation: types.AnnotationDefaultNetwork, Err: fmt.Errorf(
		"only a network of namespace %s may be a default network (key defaultNetworkNamespaces of the node's configuration)", list(allowed))}
}

func (b *builder) isOwnOrGlobal(namespace string) bool {
	return namespace == b.facts.Pod.Namespace || slices.Contains(b.Config.GlobalNamespaces, namespace)
}

func list(names []string) string {
	if len(names) == 0 {
		return "(none)"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ")
}

// checkExecutables holds the policy on what may run: every executable that the
// configuration reaches is there, is not Plexus, and is on the allow-list if there
// is one.
func (b *builder) checkExecutables(w *wanted) error {
	var faults []error
	for i := range w.conf.Plugins {
		plugin := &w.conf.Plugins[i]
		prefix := fmt.Sprintf("plugins[%d].", i)
		for _, e := range append([]types.Executable{{Key: "type", Type: plugin.Type}}, plugin.Executables...) {
			if err := b.checkExecutable(w, prefix+e.Key, e.Type); err != nil {
				faults = append(faults, err)
			}
		}
	}
	return types.Join(faults...)
}

// checkExecutable tells what a network may not run from what this node cannot run.
func (b *builder) checkExecutable(w *wanted, field, plugin string) error {
	forbidden, missing := b.checkAllowed(w, plugin), b.Node.CheckPlugin(plugin)
	err := types.Join(forbidden, missing)
	if err == nil {
		return nil
	}
	err = &types.FieldError{Field: field, Problem: err.Error()}
	if forbidden == nil {
		return types.WithFault(types.FaultNetwork, err)
	}
	return err
}

// checkAllowed applies the allow-list to a network of the API, by the namespace of
// the network: whoever writes there decides what runs. The node's own files are as
// trusted as the list.
func (b *builder) checkAllowed(w *wanted, plugin string) error {
	if b.Config.AllowedPlugins == nil || w.ref == nil {
		return nil
	}
	allowed := slices.Concat(b.Config.AllowedPlugins[w.ref.Namespace], b.Config.AllowedPlugins[anyNamespace])
	if slices.Contains(allowed, plugin) {
		return nil
	}
	return fmt.Errorf("plugin %q is not allowed to networks of namespace %q, which may use %s (key allowedPlugins of the node's configuration)",
		plugin, w.ref.Namespace, list(allowed))
}
