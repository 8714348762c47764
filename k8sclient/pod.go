package k8sclient

import (
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// PodObject is the part of a pod that is read from the API server or a manifest.
type PodObject struct {
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"` // empty of a manifest
	Annotations     map[string]string `json:"annotations"`
}

// Is reports whether this is the pod that the runtime knows under uid: the pod itself, or
// the mirror of a static pod.
func (p *PodObject) Is(uid string) bool {
	return p.UID == uid || p.Annotations[types.AnnotationConfigMirror] == uid || p.Annotations[types.AnnotationConfigHash] == uid
}

// mergePod makes the pod of the facts: the runtime's, with the annotations that a source
// found. found is nil where no source was asked.
func mergePod(req *types.FactsRequest, found *PodObject) (types.Pod, error) {
	pod := req.Pod
	if found == nil {
		pod.Static = pod.Static || types.IsStatic(pod.Annotations)
		pod.Annotations = types.KeepAnnotations(pod.Annotations)
		return pod, nil
	}
	pod.Static = pod.Static || types.IsStatic(found.Annotations)
	if err := checkUID(&pod, found.UID); err != nil {
		return types.Pod{}, err
	}
	if pod.UID == "" {
		pod.UID = found.UID
	}
	annotations := found.Annotations
	if req.HasAnnotations {
		annotations = req.Pod.Annotations
	}
	pod.Annotations = types.KeepAnnotations(annotations)
	return pod, nil
}

// checkUID refuses the sandbox of a pod that another pod of the same name has replaced. The
// runtime knows a static pod under another UID than its mirror has.
func checkUID(pod *types.Pod, found string) error {
	if pod.Static || pod.UID == "" || found == "" || pod.UID == found {
		return nil
	}
	return gone(fmt.Errorf("pod %s: the sandbox is of an older pod: the runtime calls for UID %s, the pod of that name now has UID %s",
		pod, pod.UID, found))
}

// wantedRefs gives every network that the configuration or the pod names, each once.
func wantedRefs(req *types.FactsRequest, pod *types.Pod) []types.Ref {
	refs := append([]types.Ref{}, req.Networks...)
	return types.UniqueRefs(append(refs, pod.SelectedRefs(req.MultusNamespace)...))
}
