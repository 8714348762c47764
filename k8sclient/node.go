package k8sclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/types"
)

const (
	jsonPatch        = "application/json-patch+json"
	metadataListOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

// ErrNodeNotFound is the error for a node that the API server does not have.
var ErrNodeNotFound = errors.New("the API server has no node of this name")

// taint is one of a node, with what an API server of another version knows of it.
type taint struct {
	key  string
	text json.RawMessage
}

// UnmarshalJSON is part of json.Unmarshaler.
func (t *taint) UnmarshalJSON(text []byte) error {
	var known struct {
		Key string `json:"key"`
	}
	err := json.Unmarshal(text, &known)
	t.key, t.text = known.Key, slices.Clone(text)
	return err
}

// MarshalJSON is part of json.Marshaler.
func (t taint) MarshalJSON() ([]byte, error) { return t.text, nil }

// NodeExists gives nil if the API server has the node, and ErrNodeNotFound if it has not.
func (c *Client) NodeExists(ctx context.Context, node string) error {
	_, err := c.taints(ctx, node)
	return err
}

// RemoveTaint takes the taints with a key off a node, whatever their effects, and reports
// whether there was one. If the taints change meanwhile, it fails and has changed nothing.
func (c *Client) RemoveTaint(ctx context.Context, node, key string) (removed bool, err error) {
	before, err := c.taints(ctx, node)
	if err != nil {
		return false, err
	}
	after := slices.DeleteFunc(slices.Clone(before), func(t taint) bool { return t.key == key })
	if len(after) == len(before) {
		return false, nil
	}
	const path = "/spec/taints"
	body, err := json.Marshal([]map[string]any{{"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": after}})
	if err != nil {
		return false, err
	}
	_, err = c.do(ctx, &call{
		what: fmt.Sprintf("remove taint %s from node %s", key, node), method: http.MethodPatch,
		path: nodePath(node), contentType: jsonPatch, body: body, accept: metadataOnly,
	})
	return err == nil, coded(err)
}

// taints gives the taints of a node.
func (c *Client) taints(ctx context.Context, node string) ([]taint, error) {
	body, err := c.do(ctx, &call{what: "read node " + node, method: http.MethodGet, path: nodePath(node)})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("node %s: %w", node, ErrNodeNotFound)
	case err != nil:
		return nil, coded(err)
	}
	var object struct {
		Spec struct {
			Taints []taint `json:"taints"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("read node %s at %s: %w", node, c.server.Redacted(), err)
	}
	return object.Spec.Taints, nil
}

// NodeOfToken gives the node of the pod that the token is bound to, as the token itself says;
// empty if it says none. Nobody checks its signature here: the API server does.
func NodeOfToken(config *rest.Config) string {
	token := config.BearerToken
	if config.BearerTokenFile != "" {
		data, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return ""
		}
		token = string(data)
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Kubernetes struct {
			Node struct {
				Name string `json:"name"`
			} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Kubernetes.Node.Name
}

// RunsElsewhere reports whether the API server has this pod, by its UID, and not on a node. It
// asks for the pod last: one that is deleted meanwhile runs nowhere, and none changes its node.
func (c *Client) RunsElsewhere(ctx context.Context, pod *types.Pod, node string) (bool, error) {
	here, err := c.runsOn(ctx, pod, node)
	if err != nil || here {
		return false, coded(err)
	}
	found, err := c.readPod(ctx, pod, 0)
	switch {
	case errors.Is(err, ErrPodNotFound):
		return false, nil
	case err != nil:
		return false, coded(err)
	}
	return found.Is(pod.UID), nil
}

// runsOn reports whether the API server has a pod of this name on a node.
func (c *Client) runsOn(ctx context.Context, pod *types.Pod, node string) (bool, error) {
	here := fields.AndSelectors(fields.OneTermEqualSelector("metadata.name", pod.Name), fields.OneTermEqualSelector("spec.nodeName", node))
	body, err := c.do(ctx, &call{
		what: fmt.Sprintf("look for pod %s on node %s", pod, node), method: http.MethodGet, accept: metadataListOnly,
		path: []string{"api", "v1", "namespaces", pod.Namespace, "pods"}, query: url.Values{"fieldSelector": {here.String()}},
	})
	if err != nil {
		return false, err
	}
	var list struct {
		Items []struct{} `json:"items"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return false, fmt.Errorf("look for pod %s on node %s at %s: %w", pod, node, c.server.Redacted(), err)
	}
	return len(list.Items) > 0, nil
}

func nodePath(node string) []string { return []string{"api", "v1", "nodes", node} }
