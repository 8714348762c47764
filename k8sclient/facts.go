package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plexus-cni/plexus/types"
)

// metadataOnly asks for an object without what it specifies.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// How long the Node authorizer may take to know a pod. One that is being started exists; a
// mirror may not exist yet, so little time is spent on it.
const (
	graphTimeout  = 5 * time.Second
	mirrorTimeout = 500 * time.Millisecond
)

// Reader reads objects from the API server, or from caches.
type Reader interface {
	// ReadPod gives the pod, or ErrPodNotFound. An error carries CodeTryAgainLater if
	// that may help.
	ReadPod(ctx context.Context, pod *types.Pod) (*PodObject, error)
	// ReadNetworks gives the networks in the order of refs. One that cannot be read says so
	// itself: the plan decides whether it matters. The error is for a source that has no
	// networks at all, where another source may have them.
	ReadNetworks(ctx context.Context, refs []types.Ref) ([]types.Network, error)
}

// Facts asks the API server, as FactsFrom does.
func (c *Client) Facts(ctx context.Context, req *types.FactsRequest) (*types.Facts, error) {
	return FactsFrom(ctx, c, req)
}

// FactsFrom reads the pod, unless the runtime handed its annotations over, and every
// network that it or the request names, in a little less time than the caller waits.
func FactsFrom(ctx context.Context, r Reader, req *types.FactsRequest) (*types.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, factsBudget(req))
	defer cancel()
	var found *PodObject
	if req.Pod.Known() && !req.HasAnnotations {
		var err error
		if found, err = r.ReadPod(ctx, &req.Pod); err != nil {
			return nil, err
		}
	}
	pod, err := mergePod(req, found)
	if err != nil {
		return nil, err
	}
	networks, err := r.ReadNetworks(ctx, wantedRefs(req, &pod))
	if err != nil {
		return nil, err
	}
	return &types.Facts{Pod: pod, Networks: networks}, nil
}

// ReadPod reads what is needed of a pod's metadata.
func (c *Client) ReadPod(ctx context.Context, pod *types.Pod) (*PodObject, error) {
	found, err := c.readPod(ctx, pod, graphTimeout)
	return found, coded(err)
}

// factsBudget leaves the caller the time to receive the answer.
func factsBudget(req *types.FactsRequest) time.Duration {
	budget := min(req.Timeout.TimeoutOr(callTimeout), callTimeout)
	return budget - min(budget/10, 500*time.Millisecond)
}

func (c *Client) readPod(ctx context.Context, pod *types.Pod, graphPatience time.Duration) (found *PodObject, err error) {
	body, err := c.do(ctx, &call{
		what: "read pod " + pod.String(), method: http.MethodGet,
		path: podPath(pod), accept: metadataOnly, graphPatience: graphPatience,
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, gone(fmt.Errorf("pod %s: %w: %w", pod, ErrPodNotFound, err))
	case graphIsBehind(err):
		return nil, fmt.Errorf("%w (to the API server the pod is not of this node: it is deleted, or bound to another node)", err)
	case err != nil:
		return nil, err
	}
	found, err = decodePod(body)
	if err != nil {
		return nil, fmt.Errorf("read pod %s at %s: %w", pod, c.server.Redacted(), err)
	}
	return found, nil
}

// gone says of an error that the pod was deleted while it started, which says nothing of the node.
func gone(err error) error { return types.WithFault(types.FaultUser, err) }

func decodePod(body []byte) (*PodObject, error) {
	var object struct {
		Metadata PodObject `json:"metadata"`
	}
	err := json.Unmarshal(body, &object)
	return &object.Metadata, err
}

func podPath(pod *types.Pod, subresource ...string) []string {
	return append([]string{"api", "v1", "namespaces", pod.Namespace, "pods", pod.Name}, subresource...)
}
