package window

import (
	"context"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace/noop"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// runtimeEndpoints are where container runtimes listen: containerd, CRI-O, and k3s's containerd.
var runtimeEndpoints = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock"}

// runtimePatience is how long the runtime may take for one answer.
const runtimePatience = 5 * time.Second

// addRuntime asks the container runtime of this node for its sandboxes. One that was not named and does not
// answer is none for Kubernetes: Docker's containerd speaks no CRI.
func addRuntime(ctx context.Context, s *inspect.Snapshot, endpoint string) {
	if endpoint != "" {
		state, err := askRuntime(ctx, endpoint)
		if err != nil {
			state.Error = err.Error()
		}
		s.CNI.Runtime = state
		return
	}
	for _, path := range runtimeEndpoints {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		state, err := askRuntime(ctx, "unix://"+path)
		if err == nil {
			s.CNI.Runtime = state
			return
		}
		s.Notes = append(s.Notes, inspect.Note{About: "container runtime on " + path, Text: err.Error()})
	}
}

func askRuntime(ctx context.Context, endpoint string) (*inspect.RuntimeState, error) {
	state := &inspect.RuntimeState{Endpoint: endpoint}
	ctx = klog.NewContext(ctx, logr.Discard()) // the client logs what it returns
	service, err := criclient.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(runtimePatience).
		WithTracerProvider(noop.NewTracerProvider()).Build(ctx)
	if err != nil {
		return state, err
	}
	version, err := service.Version(ctx, "")
	if err != nil {
		return state, err
	}
	state.Name = version.GetRuntimeName() + " " + version.GetRuntimeVersion()
	status, err := service.Status(ctx, false)
	if err != nil {
		return state, err
	}
	for _, condition := range status.GetStatus().GetConditions() {
		if condition.GetType() == runtimeapi.NetworkReady && !condition.GetStatus() {
			state.NotReady = condition.GetReason() + ": " + condition.GetMessage()
		}
	}
	sandboxes, err := service.ListPodSandbox(ctx, nil)
	for _, sandbox := range sandboxes {
		state.Sandboxes = append(state.Sandboxes, sandbox.GetId())
	}
	return state, err
}
