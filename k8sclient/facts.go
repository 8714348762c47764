package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// metadataOnly asks for an object without what it specifies.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// How long the Node authorizer may take to know of a pod: one that is being started is
// there, a mirror may not be there yet and is not waited for.
const (
	graphTimeout  = 5 * time.Second
	mirrorTimeout = 500 * time.Millisecond
)

// Facts reads the pod, unless the runtime handed its annotations over, and every
// network that it or the request names.
func (c *Client) Facts(ctx context.Context, req *types.FactsRequest) (*types.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, factsBudget(req))
	defer cancel()
	var found *podObject
	if req.Pod.Known() && !req.HasAnnotations {
		var err error
		if found, err = c.readPod(ctx, &req.Pod, graphTimeout); err != nil {
			return nil, coded(err)
		}
	}
	pod, err := judgePod(req, found)
	if err != nil {
		return nil, err
	}
	return &types.Facts{Pod: pod, Networks: c.readNetworks(ctx, wantedRefs(req, &pod))}, nil
}

// factsBudget leaves the asker the time to hear the answer.
func factsBudget(req *types.FactsRequest) time.Duration {
	budget := min(req.Timeout.TimeoutOr(callTimeout), callTimeout)
	return budget - min(budget/10, 500*time.Millisecond)
}

// readPod reads what is needed of a pod's metadata.
func (c *Client) readPod(ctx context.Context, pod *types.Pod, graphPatience time.Duration) (*podObject, error) {
	body, err := c.do(ctx, &call{
		what: "read pod " + pod.String(), method: http.MethodGet,
		path: podPath(pod), accept: metadataOnly, graphPatience: graphPatience,
	})
	switch {
	case hasCode(err, http.StatusNotFound):
		return nil, fmt.Errorf("pod %s: %w: %w", pod, ErrPodNotFound, err)
	case graphIsBehind(err):
		return nil, fmt.Errorf("%w (to the API server the pod is not of this node: it is deleted, or bound to another node)", err)
	case err != nil:
		return nil, err
	}
	var object struct {
		Metadata struct {
			UID         string            `json:"uid"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("read pod %s at %s: %w", pod, c.server.Redacted(), err)
	}
	return &podObject{UID: object.Metadata.UID, Annotations: object.Metadata.Annotations}, nil
}

func podPath(pod *types.Pod, subresource ...string) []string {
	return append([]string{"api", "v1", "namespaces", pod.Namespace, "pods", pod.Name}, subresource...)
}
