package window

import (
	"context"
	"path"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// apiPatience is how long the API server may take for one answer.
const apiPatience = 5 * time.Second

// systemNamespace is where Plexus itself runs.
const systemNamespace = "plexus-system"

// neededRight is a right, and what needs it.
type neededRight struct {
	authorizationv1.ResourceAttributes
	use string
}

// neededRights are what the commands ask of the API server.
var neededRights = []neededRight{
	{authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}, "explain of a pod"},
	{authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods"}, "every pod of the cluster"},
	{authorizationv1.ResourceAttributes{Verb: "get", Resource: "network-attachment-definitions", Group: networksGroup}, "explain of a pod that selects networks"},
	{authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: systemNamespace}, "doctor: the agent's pod"},
	{authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Namespace: systemNamespace}, "reading a node from afar"},
	{authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: systemNamespace}, "reading a node from afar"},
}

const networksGroup = "k8s.cni.cncf.io"

// askAPI asks the API server what doctor has to know of it, as whoever runs the command.
func askAPI(ctx context.Context, config *rest.Config, node string) *inspect.API {
	config = rest.CopyConfig(config)
	config.Timeout = apiPatience
	api := &inspect.API{}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		api.Error = err.Error()
		return api
	}
	version, err := client.ServerVersion()
	if err != nil {
		api.Error = err.Error()
		return api
	}
	api.Version, api.CRD = version.GitVersion, "served"
	if _, err := client.ServerResourcesForGroupVersion(networksGroup + "/v1"); apierrors.IsNotFound(err) {
		api.CRD = "missing"
	} else if err != nil {
		api.CRD = "not known: " + err.Error()
	}
	askRights(ctx, config, api)
	askAgentPod(ctx, config, node, api)
	return api
}

// askRights asks for each right by itself; the answers come in the order of the questions.
func askRights(ctx context.Context, config *rest.Config, api *inspect.API) {
	client, err := authorizationv1client.NewForConfig(config)
	for i := range neededRights {
		needed := &neededRights[i]
		right := inspect.Right{Verb: needed.Verb, Resource: path.Join(needed.Resource, needed.Subresource), Namespace: needed.Namespace, For: needed.use}
		reviewErr := err
		if err == nil {
			var review *authorizationv1.SelfSubjectAccessReview
			review, reviewErr = client.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &needed.ResourceAttributes},
			}, metav1.CreateOptions{})
			right.Allowed = reviewErr == nil && review.Status.Allowed
		}
		if reviewErr != nil {
			right.Error = reviewErr.Error()
		}
		api.Rights = append(api.Rights, right)
	}
}

// askAgentPod looks for the agent's pod of a node.
func askAgentPod(ctx context.Context, config *rest.Config, node string, api *inspect.API) {
	if node == "" {
		api.AgentError = "the node's name is not known"
		return
	}
	client, err := corev1client.NewForConfig(config)
	var pods *corev1.PodList
	if err == nil {
		pods, err = client.Pods(systemNamespace).List(ctx, metav1.ListOptions{
			LabelSelector: "app.kubernetes.io/name=plexus,app.kubernetes.io/component=agent", FieldSelector: "spec.nodeName=" + node,
		})
	}
	if err != nil {
		api.AgentError = err.Error()
		return
	}
	for i := range pods.Items {
		if described := describeAgentPod(&pods.Items[i]); api.Agent == nil || described.Ready {
			api.Agent = described // of two, as in a rollout, the one that is ready
		}
	}
}

func describeAgentPod(pod *corev1.Pod) *inspect.AgentPod {
	described := &inspect.AgentPod{Name: pod.Name}
	for i := range pod.Spec.Containers {
		if described.Image == "" || pod.Spec.Containers[i].Name == "agent" {
			described.Image = pod.Spec.Containers[i].Image
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			described.Ready, described.Reason = condition.Status == corev1.ConditionTrue, condition.Message
		}
	}
	for i := range pod.Status.ContainerStatuses {
		described.Restarts += int(pod.Status.ContainerStatuses[i].RestartCount)
	}
	return described
}
