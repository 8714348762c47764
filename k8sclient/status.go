package k8sclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

const mergePatch = "application/merge-patch+json"

// ErrNoMirror is the error for a static pod whose mirror does not exist yet.
var ErrNoMirror = errors.New("the API server has no mirror of this static pod yet")

// PublishStatus writes a pod's network-status annotation. It is settled once the API
// server has it, or the pod is gone.
func (c *Client) PublishStatus(ctx context.Context, pod types.Pod, status []types.NetworkStatus) (settled bool, err error) {
	if !pod.Known() {
		return true, nil
	}
	if pod.Static {
		if pod, err = c.mirror(ctx, pod); err != nil {
			return false, coded(err)
		}
	}
	if _, err = c.PatchStatus(ctx, pod, status); err == nil || IsGone(err) {
		return true, nil
	}
	return false, err
}

// PatchStatus writes the network-status annotation of the pod with this UID, or, without
// one, of the pod with this name, and gives the pod as it is then. For a pod that does not
// exist any more, IsGone is true of the error.
func (c *Client) PatchStatus(ctx context.Context, pod types.Pod, status []types.NetworkStatus) (*PodObject, error) {
	patch, err := statusPatch(pod.UID, status)
	if err != nil {
		return nil, fmt.Errorf("status of pod %s: %w", &pod, err)
	}
	body, err := c.do(ctx, &call{
		what: "patch status of pod " + pod.String(), method: http.MethodPatch,
		path: podPath(&pod, "status"), contentType: mergePatch, body: patch, accept: metadataOnly,
	})
	if err != nil {
		return nil, coded(err)
	}
	found, err := decodePod(body)
	if err != nil {
		return &PodObject{UID: pod.UID}, nil // it is written, even where the answer cannot be read
	}
	return found, nil
}

// IsGone reports whether the pod does not exist, or another one has its name.
func IsGone(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return false
	}
	status := answer.Status()
	return status.Reason == metav1.StatusReasonNotFound ||
		apierrors.IsInvalid(err) && status.Details != nil && slices.ContainsFunc(status.Details.Causes, isOfUID)
}

func isOfUID(cause metav1.StatusCause) bool { return cause.Field == "metadata.uid" }

func statusPatch(uid string, status []types.NetworkStatus) ([]byte, error) {
	value, err := types.FormatStatus(status)
	if err != nil {
		return nil, err
	}
	metadata := map[string]any{"annotations": map[string]string{types.AnnotationNetworkStatus: value}}
	if uid != "" {
		metadata["uid"] = uid
	}
	return json.Marshal(map[string]any{"metadata": metadata})
}

// mirror gives the mirror of a static pod.
func (c *Client) mirror(ctx context.Context, pod types.Pod) (types.Pod, error) {
	found, err := c.readPod(ctx, &pod, mirrorTimeout)
	switch {
	case errors.Is(err, ErrPodNotFound) || graphIsBehind(err):
		return pod, fmt.Errorf("pod %s: %w", &pod, ErrNoMirror)
	case err != nil:
		return pod, err
	case pod.UID != "" && !found.Is(pod.UID):
		return pod, fmt.Errorf("pod %s: %w: the one it has is of another version", &pod, ErrNoMirror)
	}
	pod.UID = found.UID
	return pod, nil
}
