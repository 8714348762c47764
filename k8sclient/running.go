package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/fields"
)

// Running gives the UIDs of the pods that run on a node in a network namespace of their own.
func (c *Client) Running(ctx context.Context, node string) (map[string]bool, error) {
	selector := fields.AndSelectors(
		fields.OneTermEqualSelector("spec.nodeName", node),
		fields.OneTermEqualSelector("spec.hostNetwork", "false"),
		fields.OneTermEqualSelector("status.phase", "Running"),
	)
	body, err := c.do(ctx, &call{
		what: "list the pods that run on node " + node, method: http.MethodGet, accept: metadataListOnly,
		path: []string{"api", "v1", "pods"}, query: url.Values{"fieldSelector": {selector.String()}},
	})
	if err != nil {
		return nil, coded(err)
	}
	var list struct {
		Items []struct {
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("list the pods that run on node %s at %s: %w", node, c.server.Redacted(), err)
	}
	running := map[string]bool{}
	for _, item := range list.Items {
		running[item.Metadata.UID] = true
	}
	return running, nil
}
