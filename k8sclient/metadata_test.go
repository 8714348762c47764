package k8sclient

import (
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// No request asks for more of a pod than its metadata: its specification names secrets, and
// the agent keeps what it reads.
func TestPodsAreReadAsMetadata(t *testing.T) {
	pod := types.Pod{Namespace: "ns", Name: "p", UID: "u"}
	for name, do := range map[string]func(*Client) error{
		"read": func(c *Client) error {
			_, err := c.ReadPod(t.Context(), &pod)
			return err
		},
		"status": func(c *Client) error {
			_, err := c.PatchStatus(t.Context(), pod, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(answer{code: 200, body: `{"metadata":{"uid":"u"}}`})
			if err := do(c); err != nil {
				t.Fatal(err)
			}
			const want = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
			if got := s.requests[0].Header.Get("Accept"); got != want {
				t.Errorf("Accept: %s, want %s", got, want)
			}
		})
	}
}
