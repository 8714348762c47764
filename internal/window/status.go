package window

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// statusTimeout is how long the API server is asked for what it knows besides.
const statusTimeout = 5 * time.Second

// hasCluster reports whether the flags and the kubeconfig name a cluster.
func hasCluster(flags *genericclioptions.ConfigFlags) bool {
	if flags == nil {
		return false
	}
	if flags.APIServer != nil && *flags.APIServer != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	config, err := flags.ToRawKubeConfigLoader().RawConfig()
	return err == nil && len(config.Clusters) > 0
}

// comparePublished compares a list with the status of pods that the API server has, if there is a
// cluster. If it does not answer, the list goes by the journal, and says so.
func comparePublished(ctx context.Context, flags *genericclioptions.ConfigFlags, list *inspect.AttachedList, node string) {
	if len(list.Items) == 0 || !hasCluster(flags) {
		return
	}
	pods, err := podsOf(ctx, flags, list, node)
	if err != nil {
		list.Notes = append(list.Notes, inspect.Note{About: "the status of pods", Text: fmt.Sprintf("the API server does not say it, so the journal counts: %v", err)})
		return
	}
	for i := range pods {
		pod := &pods[i]
		published, err := publishedOf(pod)
		if err != nil {
			list.Notes = append(list.Notes, inspect.Note{About: "pod " + pod.Namespace + "/" + pod.Name, Text: err.Error()})
		}
		list.ComparePublished(pod.Namespace+"/"+pod.Name, published)
	}
}

// podsOf asks for the pods of a list: for the one, or for those of the node.
func podsOf(ctx context.Context, flags *genericclioptions.ConfigFlags, list *inspect.AttachedList, node string) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	source, err := openCluster(flags)
	if err != nil {
		return nil, err
	}
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(), ResourceVersion: "0"}
	namespace := metav1.NamespaceAll
	if pod, only := list.OnlyPod(); only {
		ref, err := parsePodName(pod, namespace)
		if err != nil {
			return nil, err
		}
		namespace, options.FieldSelector = ref.Namespace, fields.OneTermEqualSelector("metadata.name", ref.Name).String()
	}
	pods, err := source.core.Pods(namespace).List(ctx, options)
	if err != nil {
		return nil, err
	}
	return pods.Items, nil
}

// publishedOf reads the status of a pod; it is nil if the pod has none.
func publishedOf(pod *corev1.Pod) ([]inspect.Published, error) {
	annotation := pod.Annotations[types.AnnotationNetworkStatus]
	if annotation == "" {
		return nil, nil
	}
	status, err := types.ParseStatus(annotation)
	var published []inspect.Published
	for _, one := range status {
		published = append(published, inspect.Published{Network: one.Name, Interface: one.Interface, Addresses: one.IPs, MAC: one.MAC})
	}
	return published, err
}
