package kubelet

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	podresourcesv1 "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/plexus-cni/plexus/types"
)

// fakeKubelet serves the kubelet's API with its own messages and gRPC's own server.
type fakeKubelet struct {
	podresourcesv1.UnimplementedPodResourcesListerServer
	pods    []*podresourcesv1.PodResources
	getErr  error // what Get answers instead; it is not there if it is Unimplemented
	listErr error
	asked   []string
}

func (f *fakeKubelet) Get(_ context.Context, r *podresourcesv1.GetPodResourcesRequest) (*podresourcesv1.GetPodResourcesResponse, error) {
	f.asked = append(f.asked, "Get "+r.PodNamespace+"/"+r.PodName)
	if f.getErr != nil {
		return nil, f.getErr
	}
	for _, pod := range f.pods {
		if pod.Name == r.PodName && pod.Namespace == r.PodNamespace {
			return &podresourcesv1.GetPodResourcesResponse{PodResources: pod}, nil
		}
	}
	return nil, errors.New("pod " + r.PodName + " in namespace " + r.PodNamespace + " not found")
}

func (f *fakeKubelet) List(context.Context, *podresourcesv1.ListPodResourcesRequest) (*podresourcesv1.ListPodResourcesResponse, error) {
	f.asked = append(f.asked, "List")
	return &podresourcesv1.ListPodResourcesResponse{PodResources: f.pods}, f.listErr
}

// socketDir is a folder whose path is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve serves on a socket until the test ends, and gives its path.
func (f *fakeKubelet) serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(socketDir(t), "kubelet.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresourcesv1.RegisterPodResourcesListerServer(server, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return socket
}

func devicesOf(resource string, ids ...string) *podresourcesv1.ContainerDevices {
	return &podresourcesv1.ContainerDevices{
		ResourceName: resource, DeviceIds: ids,
		Topology: &podresourcesv1.TopologyInfo{Nodes: []*podresourcesv1.NUMANode{{ID: 0}, {ID: 1}}},
	}
}

func containerOf(name string, devices ...*podresourcesv1.ContainerDevices) *podresourcesv1.ContainerResources {
	return &podresourcesv1.ContainerResources{
		Name: name, Devices: devices, CpuIds: []int64{1, 300, 70000},
		Memory: []*podresourcesv1.ContainerMemory{{MemoryType: "memory", Size: 1 << 40}},
	}
}

func podOf(name string, containers ...*podresourcesv1.ContainerResources) *podresourcesv1.PodResources {
	return &podresourcesv1.PodResources{Namespace: "default", Name: name, CpuIds: []int64{7}, Containers: containers}
}

// wanting are the facts of a pod that selects a network of a resource.
func wanting() *types.Facts {
	return &types.Facts{
		Pod:      types.Pod{Namespace: "default", Name: "web", UID: "uid-1"},
		Networks: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "fast"}, ResourceName: "example.com/vf"}},
	}
}

func TestDevices(t *testing.T) {
	web := podOf(
		"web",
		containerOf("sidecar", devicesOf("example.com/vf", "9")),
		containerOf("a", devicesOf("example.com/vf", "7"), devicesOf("example.com/other", "x"), devicesOf("example.com/vf", "3", "7")),
		containerOf("none"),
		containerOf("b", devicesOf("example.com/vf", "1", "9")),
	)
	ordered := map[string][]string{"example.com/vf": {"9", "3", "7", "1"}, "example.com/other": {"x"}}
	disabled := status.Error(codes.Unknown, "PodResources API Get method disabled")
	for name, test := range map[string]struct {
		kubelet *fakeKubelet
		want    map[string][]string
		asked   []string
		err     error
		says    []string
	}{
		"one pod":        {kubelet: &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("other"), web}}, want: ordered, asked: []string{"Get default/web"}},
		"no devices":     {kubelet: &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("web", containerOf("c"))}}, want: map[string][]string{}, asked: []string{"Get default/web"}},
		"Get is off":     {kubelet: &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("other", containerOf("c", devicesOf("r", "1"))), web}, getErr: disabled}, want: ordered, asked: []string{"Get default/web", "List"}},
		"Get is unknown": {kubelet: &fakeKubelet{pods: []*podresourcesv1.PodResources{web}, getErr: status.Error(codes.Unimplemented, "unknown method Get")}, want: ordered, asked: []string{"Get default/web", "List"}},
		"no such pod":    {kubelet: &fakeKubelet{}, asked: []string{"Get default/web", "List"}, err: ErrUnknownPod, says: []string{"pod default/web: its devices are not known, for network default/fast (resource example.com/vf): kubelet on ", "kubelet.sock"}},
		"two of a name":  {kubelet: &fakeKubelet{pods: []*podresourcesv1.PodResources{web, web}, getErr: disabled}, asked: []string{"Get default/web", "List"}, err: ErrTwoPods},
		"too many ask": {
			kubelet: &fakeKubelet{getErr: status.Error(codes.ResourceExhausted, "rejected by rate limit")},
			asked:   []string{"Get default/web"}, says: []string{"Get: rejected by rate limit (gRPC code 8)"},
		},
		"List fails": {
			kubelet: &fakeKubelet{getErr: disabled, listErr: status.Error(codes.Internal, "at 100 % é")},
			asked:   []string{"Get default/web", "List"}, says: []string{"List: at 100 % é (gRPC code 13)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := wanting()
			err := Devices{Socket: test.kubelet.serve(t)}.Complete(t.Context(), facts)
			if diff := cmp.Diff(test.want, facts.Devices); diff != "" {
				t.Errorf("devices: %s", diff)
			}
			if diff := cmp.Diff(test.asked, test.kubelet.asked); diff != "" {
				t.Errorf("asked: %s", diff)
			}
			if test.want == nil {
				mustTryAgain(t, err, test.err, test.says...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The error says which networks need the devices, the first of them if they are many.
func TestDevicesNamesTheNetworks(t *testing.T) {
	socket := (&fakeKubelet{}).serve(t)
	many := wanting()
	for range 11 {
		many.Networks = append(many.Networks, many.Networks[0])
	}
	named := &types.Facts{Pod: types.Pod{Namespace: "default", Name: "web", Annotations: map[string]string{
		types.AnnotationNetworks: `[{"name":"slow","namespace":"ops","deviceID":"0000:3b:02.0"}]`,
	}}}
	for want, facts := range map[string]*types.Facts{
		"for network default/fast (resource example.com/vf), network":          many,
		"network default/fast (resource example.com/vf) and 2 more: kubelet":   many,
		`for network ops/slow (deviceID "0000:3b:02.0"): kubelet on ` + socket: named,
	} {
		mustTryAgain(t, Devices{Socket: socket}.Complete(t.Context(), facts), ErrUnknownPod, want)
	}
}

// mustTryAgain demands an error of code 11 that is a certain one, if any, and says words.
func mustTryAgain(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if err == nil || types.CodeOf(err, 0) != types.CodeTryAgainLater || is != nil && !errors.Is(err, is) {
		t.Fatalf("want %v of code 11, got %v of code %d", is, err, types.CodeOf(err, 0))
	}
	for _, words := range says {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("does not say %q: %v", words, err)
		}
	}
}

// A large node: more than one frame and one window of HTTP/2.
func TestDevicesOfALargeNode(t *testing.T) {
	f := &fakeKubelet{getErr: status.Error(codes.Unimplemented, "no")}
	for i := range 500 {
		ids := make([]string, 40)
		for j := range ids {
			ids[j] = strings.Repeat("d", 1+i%50) + string(rune('a'+j%26))
		}
		f.pods = append(f.pods, podOf(strings.Repeat("p", 1+i%200)+string(rune('a'+i/200)), containerOf("c", devicesOf("example.com/vf", ids...))))
	}
	f.pods = append(f.pods, podOf("web", containerOf("c", devicesOf("example.com/vf", "mine"))))
	facts := wanting()
	if err := (Devices{Socket: f.serve(t)}).Complete(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"example.com/vf": {"mine"}}, facts.Devices); diff != "" {
		t.Error(diff)
	}
}

// Nobody is asked for a pod to which devices do not matter, or where there is no kubelet.
func TestDevicesThatDoNotMatter(t *testing.T) {
	for name, test := range map[string]struct {
		devices Devices
		change  func(*types.Facts)
	}{
		"no resource":       {Devices{Socket: "/nowhere"}, func(f *types.Facts) { f.Networks[0].ResourceName = "" }},
		"no network":        {Devices{Socket: "/nowhere"}, func(f *types.Facts) { f.Networks = nil }},
		"no pod":            {Devices{Socket: "/nowhere"}, func(f *types.Facts) { f.Pod = types.Pod{} }},
		"no kubelet to ask": {Devices{Checkpoint: "/nowhere"}, func(*types.Facts) {}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := wanting()
			test.change(facts)
			if err := test.devices.Complete(t.Context(), facts); err != nil || facts.Devices != nil {
				t.Errorf("got %v, error %v", facts.Devices, err)
			}
		})
	}
}

// A kubelet that is being restarted: no socket, one without a listener, one that
// hangs, one that is something else.
func TestKubeletIsAway(t *testing.T) {
	dir := socketDir(t)
	left := filepath.Join(dir, "left.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	_ = listener.Close()
	for name, test := range map[string]struct{ socket, says string }{
		"no socket":          {filepath.Join(dir, "none.sock"), "no such file"},
		"nobody listens":     {left, "connection refused"},
		"it hangs up":        {answering(t, ""), "kubelet on "},
		"it is another":      {answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "kubelet on "},
		"it does not answer": {answering(t, "wait"), "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
			defer cancel()
			if test.says == "deadline exceeded" { // without waiting for it
				expired, cancel := context.WithCancelCause(t.Context())
				cancel(context.DeadlineExceeded)
				ctx, test.says = expired, ""
			}
			facts := wanting()
			err := Devices{Socket: test.socket}.Complete(ctx, facts)
			mustTryAgain(t, err, nil, test.says, "kubelet on "+test.socket)
			if facts.Devices != nil {
				t.Errorf("devices beside the error: %v", facts.Devices)
			}
		})
	}
}

// answering serves text on every connection.
func answering(t *testing.T, text string) string {
	t.Helper()
	socket := filepath.Join(socketDir(t), "s.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if text != "wait" {
				_, _ = conn.Write([]byte(text))
				_ = conn.Close()
			}
		}
	}()
	return socket
}

// The checkpoint is read where the API does not answer, and only there.
func TestCheckpointIsTheLastResort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(file, []byte(sampleCheckpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	serving := &fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("web", containerOf("c", devicesOf("example.com/vf", "live")))}}
	noted := map[string][]string{"example.com/vf": {"d2", "d1", "d3"}, "example.com/other": {"x"}}
	for name, test := range map[string]struct {
		devices Devices
		uid     string
		want    map[string][]string
		says    []string
	}{
		"the API answers": {Devices{Socket: serving.serve(t), Checkpoint: file}, "uid-1", map[string][]string{"example.com/vf": {"live"}}, nil},
		"it does not":     {Devices{Socket: "/nowhere", Checkpoint: file}, "uid-1", noted, nil},
		"two of a name": {
			Devices{Socket: (&fakeKubelet{pods: []*podresourcesv1.PodResources{podOf("web"), podOf("web")}, getErr: errors.New("off")}).serve(t), Checkpoint: file},
			"uid-1", noted, nil,
		},
		"of another pod": {Devices{Socket: "/nowhere", Checkpoint: file}, "uid-3", nil, []string{"kubelet on /nowhere", "no such file", "deviceCheckpoint: " + file, ErrUnknownPod.Error()}},
		"without a UID":  {Devices{Socket: "/nowhere", Checkpoint: file}, "", nil, []string{"did not say the pod's UID"}},
		"no file":        {Devices{Socket: "/nowhere", Checkpoint: "/nowhere.too"}, "uid-1", nil, []string{"deviceCheckpoint: open /nowhere.too"}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := wanting()
			facts.Pod.UID = test.uid
			err := test.devices.Complete(t.Context(), facts)
			if diff := cmp.Diff(test.want, facts.Devices); diff != "" {
				t.Error(diff)
			}
			if test.want == nil {
				mustTryAgain(t, err, nil, test.says...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
