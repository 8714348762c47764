package node

import (
	"context"
	"net"
	"time"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// ask asks the agent for the facts of a sandbox's pod, as plexus does.
func (n *node) ask(s *sandbox) (*types.Facts, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := net.Dial("unix", n.socket())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	response, err := rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Facts: &types.FactsRequest{
		Pod: types.Pod{Namespace: s.pod.Namespace, Name: s.pod.Name, UID: s.uid}, MultusNamespace: "kube-system", Timeout: types.Duration(5 * time.Second),
	}})
	if err != nil {
		return nil, err
	}
	return response.Facts, nil
}
