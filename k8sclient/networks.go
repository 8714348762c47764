package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

// maxParallel bounds how many networks are read at a time.
const maxParallel = 16

// networkSpec is the spec of a NetworkAttachmentDefinition.
type networkSpec struct {
	Config string `json:"config"`
}

// ReadNetworks reads networks in parallel, each once. It never fails.
func (c *Client) ReadNetworks(ctx context.Context, refs []types.Ref) ([]types.Network, error) {
	networks := make([]types.Network, len(refs))
	free := make(chan struct{}, maxParallel)
	var all sync.WaitGroup
	for i, ref := range refs {
		free <- struct{}{}
		all.Go(func() {
			networks[i] = c.readNetwork(ctx, ref)
			<-free
		})
	}
	all.Wait()
	return networks, nil
}

func (c *Client) readNetwork(ctx context.Context, ref types.Ref) types.Network {
	body, err := c.do(ctx, &call{
		what: "read network " + ref.String(), method: http.MethodGet,
		path: []string{"apis", groupNetworks, "v1", "namespaces", ref.Namespace, "network-attachment-definitions", ref.Name},
	})
	switch {
	case kindIsMissing(err):
		return types.Network{Ref: ref, Missing: true, Problem: "the API server does not know the kind, apply deploy/crd.yaml"}
	case apierrors.IsNotFound(err):
		return types.Network{Ref: ref, Missing: true}
	case apierrors.IsForbidden(err):
		return problem(ref, fmt.Errorf("%w: these credentials may not read networks; "+
			"with the kubelet's, bind a ClusterRole that may to the group system:nodes (deploy/rbac-nodes.yaml)", err))
	case err != nil:
		return problem(ref, err)
	}
	network, err := decodeNetwork(ref, body)
	if err != nil {
		return problem(ref, fmt.Errorf("read network %s at %s: %w", ref, c.server.Redacted(), err))
	}
	return network
}

// kindIsMissing reports whether the API server does not know the path, which it answers
// without a Status object; for a missing object it sends one.
func kindIsMissing(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
}

func decodeNetwork(ref types.Ref, body []byte) (types.Network, error) {
	var object struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec networkSpec `json:"spec"`
	}
	err := json.Unmarshal(body, &object)
	return types.Network{
		Ref:          ref,
		Config:       object.Spec.Config,
		ResourceName: object.Metadata.Annotations[types.AnnotationResourceName],
		Claim:        object.Metadata.Annotations[types.AnnotationClaim],
	}, err
}

func problem(ref types.Ref, err error) types.Network {
	return types.Network{Ref: ref, Problem: err.Error(), Code: types.CodeOf(coded(err), 0)}
}
