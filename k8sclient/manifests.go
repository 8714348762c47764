package k8sclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

const defaultNamespace = "default" // of a manifest that names none, as with kubectl

// ErrPodNotFound is the error for a pod that the source does not have.
var ErrPodNotFound = errors.New("not found")

// Manifests is a folder of *.yaml, *.yml and *.json files with Pods and
// NetworkAttachmentDefinitions: a source of facts where there is no cluster.
type Manifests struct{ Dir string }

// Facts reads the folder at each call.
func (m Manifests) Facts(_ context.Context, req *types.FactsRequest) (*types.Facts, error) {
	set, err := m.load()
	if err != nil {
		return nil, err
	}
	if req, err = m.named(set, req); err != nil {
		return nil, err
	}
	found, err := m.pod(set, req)
	if err != nil {
		return nil, err
	}
	facts, err := set.facts(req, found)
	if err != nil {
		return nil, fmt.Errorf("manifests in %s: %w", m.Dir, err)
	}
	return facts, nil
}

// named gives the request with the whole name of its pod. To a name without a namespace belongs
// the pod of namespace default, as with kubectl, else the only one of that name.
func (m Manifests) named(set *manifestSet, req *types.FactsRequest) (*types.FactsRequest, error) {
	if !req.Pod.IsHalfKnown() {
		return req, nil
	}
	var namespaces []string
	for ref := range set.pods {
		if ref.Name == req.Pod.Name {
			namespaces = append(namespaces, ref.Namespace)
		}
	}
	slices.Sort(namespaces)
	whole := *req
	switch {
	case slices.Contains(namespaces, defaultNamespace):
		whole.Pod.Namespace = defaultNamespace
	case len(namespaces) == 1:
		whole.Pod.Namespace = namespaces[0]
	case len(namespaces) == 0:
		return nil, fmt.Errorf("%w: the runtime gave no namespace (K8S_POD_NAMESPACE), and no manifest in %s has a pod of that name in any", ErrPodNotFound, m.Dir)
	default:
		return nil, types.Errorf(types.CodeInvalidEnv, "the runtime gave no namespace (K8S_POD_NAMESPACE), and the manifests in %s have pods of that name in namespaces %s, none of them %s",
			m.Dir, strings.Join(namespaces, ", "), defaultNamespace)
	}
	return &whole, nil
}

func (m Manifests) pod(set *manifestSet, req *types.FactsRequest) (*PodObject, error) {
	if !req.Pod.Known() {
		return nil, nil
	}
	pod, known := set.pods[types.Ref{Namespace: req.Pod.Namespace, Name: req.Pod.Name}]
	if !known && !req.HasAnnotations {
		return nil, fmt.Errorf("pod %s: %w: no manifest in %s has it", &req.Pod, ErrPodNotFound, m.Dir)
	}
	if !known {
		return nil, nil
	}
	return &pod, nil
}

// ReadPodClaims reads the folder for the pod's claims and what they allocate. A claim that it has
// not is an error: nobody else knows what is allocated.
func (m Manifests) ReadPodClaims(_ context.Context, pod *types.Pod) ([]types.ClaimedDevice, error) {
	set, err := m.load()
	if err != nil {
		return nil, err
	}
	of := set.podClaims[types.Ref{Namespace: pod.Namespace, Name: pod.Name}]
	devices := []types.ClaimedDevice{}
	for _, claim := range of.list() {
		object, known := set.claims[types.Ref{Namespace: pod.Namespace, Name: claim.name}]
		if !known {
			return nil, fmt.Errorf("claim %s/%s: no manifest in %s has it", pod.Namespace, claim.name, m.Dir)
		}
		devices = append(devices, object.devices(claim)...)
	}
	return devices, nil
}

// Describe reads the folder for the slices of the devices.
func (m Manifests) Describe(_ context.Context, devices []types.ClaimedDevice) error {
	set, err := m.load()
	if err != nil {
		return err
	}
	if err := set.describe(devices); err != nil {
		return fmt.Errorf("manifests in %s: %w", m.Dir, err)
	}
	return nil
}

// PublishStatus writes nothing: no program reads a status from manifests.
func (Manifests) PublishStatus(context.Context, types.Pod, []types.NetworkStatus) (bool, error) {
	return true, nil
}

// Event writes nothing.
func (Manifests) Event(context.Context, types.Pod, types.PodEvent) error { return nil }

func (m Manifests) load() (*manifestSet, error) {
	files, err := os.ReadDir(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	set := newManifestSet()
	var faults []error
	for _, file := range files {
		path := filepath.Join(m.Dir, file.Name())
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			continue
		}
		// os.Stat follows links. Reading anything but a file may never end.
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			continue
		}
		faults = append(faults, set.addFile(path))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, types.WithCode(types.CodeInvalidConfig, err)
	}
	return set, nil
}
