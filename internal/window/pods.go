package window

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

// podSource is where pods and networks come from.
type podSource interface {
	// Facts gives the pod and its networks, without devices.
	Facts(ctx context.Context, req *types.FactsRequest) (*types.Facts, error)
	// Spec gives the spec of a pod.
	Spec(ctx context.Context, pod types.Ref) (*corev1.PodSpec, error)
	// Claims reads which devices claims allocate on a node; nil if nobody knows.
	Claims(node string) (claims.Reader, error)
	// ClaimSpec gives the spec of a ResourceClaim, or that which a ResourceClaimTemplate makes.
	ClaimSpec(ctx context.Context, kind claimKind, ref types.Ref) (*claimSpec, error)
}

// gather gives the facts of a pod, and what is assumed in them.
func gather(ctx context.Context, n *node, source podSource, pod types.Ref) (*types.Facts, []string, error) {
	facts, err := source.Facts(ctx, n.factsRequest(pod))
	if err == nil {
		err = unreadable(facts)
	}
	if err != nil {
		return nil, nil, err
	}
	assumed, err := addDevices(ctx, n, source, facts)
	return facts, assumed, err
}

// factsRequest gives the request that an ADD on the node makes.
func (n *node) factsRequest(pod types.Ref) *types.FactsRequest {
	req := &types.FactsRequest{Pod: types.Pod{Namespace: pod.Namespace, Name: pod.Name}, MultusNamespace: types.DefaultNamespace}
	if n.config != nil {
		req.Networks, req.MultusNamespace = plan.ConfiguredRefs(n.config), n.config.MultusNamespace
	}
	return req
}

// unreadable reports networks that could not be read: whether ADD can read them is not known.
func unreadable(facts *types.Facts) error {
	var faults []error
	for i := range facts.Networks {
		if network := &facts.Networks[i]; network.Problem != "" && !network.Missing {
			faults = append(faults, fmt.Errorf("network %s: %s", network.Ref, network.Problem))
		}
	}
	return types.Join(faults...)
}

// fileSource is objects of files.
type fileSource struct {
	objects *k8sclient.Objects
	claims  map[claimKind]map[types.Ref]*claimSpec
}

// openFiles reads files, the manifests of folders, and the standard input.
func openFiles(names []string, stdin io.Reader) (*fileSource, error) {
	s := &fileSource{k8sclient.NewObjects(), map[claimKind]map[types.Ref]*claimSpec{claimObject: {}, claimTemplate: {}}}
	for _, name := range names {
		if err := s.add(name, stdin); err != nil {
			return nil, fmt.Errorf("-f %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *fileSource) add(name string, stdin io.Reader) error {
	if name == "-" {
		data, err := io.ReadAll(stdin)
		if err != nil {
			return err
		}
		s.addClaims(data)
		return s.objects.Add("of the standard input", data)
	}
	files, err := inputPaths(name)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			s.addClaims(data)
			err = s.objects.Add(file, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isManifest reports whether something in a folder is a file by whose name it is a manifest. A
// pipe is none: to read it would be to wait for somebody who writes.
func isManifest(path string) bool {
	if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
		return false
	}
	info, err := os.Stat(path) // a link is followed
	return err != nil || info.Mode().IsRegular()
}

func (s *fileSource) Facts(_ context.Context, req *types.FactsRequest) (*types.Facts, error) {
	return s.objects.Facts(req)
}

func (s *fileSource) Spec(_ context.Context, pod types.Ref) (*corev1.PodSpec, error) {
	var spec corev1.PodSpec
	if data := s.objects.PodSpec(pod); data != nil {
		if err := json.Unmarshal(data, &spec); err != nil {
			return nil, fmt.Errorf("pod %s: spec: %w", pod, err)
		}
	}
	return &spec, nil
}

// clusterSource is an API server.
type clusterSource struct {
	client  *k8sclient.Client
	onNode  func(node string) (*k8sclient.Client, error) // which looks for devices there
	core    *corev1client.CoreV1Client
	timeout time.Duration
}

// askTimeout is how long an API server is asked, again and again, unless --request-timeout says it.
// ADD has more patience than who waits before a screen.
const askTimeout = 10 * time.Second

// openCluster makes a client as the flags say.
func openCluster(flags *genericclioptions.ConfigFlags) (*clusterSource, error) {
	if err := checkKnown(flags); err != nil {
		return nil, err
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = program + "/" + version.Version
	shared, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	onNode := func(node string) (*k8sclient.Client, error) {
		return k8sclient.NewResident(config, shared, k8sclient.Options{NodeName: node, UserAgent: config.UserAgent})
	}
	client, err := onNode("")
	if err != nil {
		return nil, err
	}
	core, err := corev1client.NewForConfigAndClient(config, shared)
	if err != nil {
		return nil, err
	}
	return &clusterSource{client, onNode, core, cmp.Or(config.Timeout, askTimeout)}, nil
}

func (s *clusterSource) Facts(ctx context.Context, req *types.FactsRequest) (*types.Facts, error) {
	patient := *req
	patient.Timeout = types.Duration(s.timeout)
	return s.client.Facts(ctx, &patient)
}

func (s *clusterSource) Spec(ctx context.Context, ref types.Ref) (*corev1.PodSpec, error) {
	pod, err := s.core.Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return &pod.Spec, nil
}
