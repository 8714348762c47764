package window

import (
	"context"
	"path/filepath"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/fake"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// The runtime's sandboxes come from its socket. One that was named and does not answer is an error; one that
// was only found is a note.
func TestDoctorAsksTheRuntime(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "cri.sock")
	server := fake.NewFakeRemoteRuntime()
	check.Must(t, server.Start("unix://"+socket))
	t.Cleanup(server.Stop)
	_, err := server.RunPodSandbox(context.Background(), &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "shop", Uid: "u1"},
	}})
	check.Must(t, err)

	s := &inspect.Snapshot{CNI: &inspect.CNI{}}
	addRuntime(t.Context(), s, "unix://"+socket)
	check.Equal(t, "error", s.CNI.Runtime.Error, "")
	check.Equal(t, "sandboxes", len(s.CNI.Runtime.Sandboxes), 1)
	check.Equal(t, "has a name", s.CNI.Runtime.Name != " ", true)

	addRuntime(t.Context(), s, "unix://"+socket+".gone")
	check.Contains(t, "error", s.CNI.Runtime.Error, "cri.sock.gone")

	defer func(old []string) { runtimeEndpoints = old }(runtimeEndpoints)
	write(t, filepath.Dir(socket), "dead.sock", "")
	runtimeEndpoints = []string{socket + ".gone", filepath.Join(filepath.Dir(socket), "dead.sock"), socket}
	s = &inspect.Snapshot{CNI: &inspect.CNI{}}
	addRuntime(t.Context(), s, "")
	check.Equal(t, "endpoint", s.CNI.Runtime.Endpoint, "unix://"+socket)
	check.Equal(t, "notes", len(s.Notes), 1)
}
