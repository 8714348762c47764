package watched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	nadv1 "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// network is the part of a NetworkAttachmentDefinition that is kept.
type network struct {
	config       packed
	resourceName string
}

// keptAnnotations are the annotations that Plexus reads.
var keptAnnotations = append([]string{
	types.AnnotationNetworkStatus, types.AnnotationResourceName,
	types.AnnotationConfigSource, types.AnnotationConfigHash, types.AnnotationConfigMirror,
}, types.ReadAnnotations...)

// strip drops the fields that Plexus does not read.
func strip(object any) (any, error) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return object, nil
	}
	meta.SetManagedFields(nil)
	meta.SetOwnerReferences(nil)
	meta.SetLabels(nil)
	meta.SetFinalizers(nil)
	kept := map[string]string{}
	for _, key := range keptAnnotations {
		if value, ok := meta.GetAnnotations()[key]; ok {
			kept[key] = value
		}
	}
	meta.SetAnnotations(kept)
	return object, nil
}

func podOf(object any) (k8sclient.PodObject, bool) {
	stripped, _ := strip(object)
	pod, ok := stripped.(*metav1.PartialObjectMetadata)
	if !ok {
		return k8sclient.PodObject{}, false
	}
	return k8sclient.PodObject{UID: string(pod.UID), ResourceVersion: pod.ResourceVersion, Annotations: pod.Annotations}, true
}

func networkOf(object any) (network, bool) {
	definition, ok := object.(*nadv1.NetworkAttachmentDefinition)
	if !ok {
		return network{}, false
	}
	return network{pack(definition.Spec.Config), definition.Annotations[types.AnnotationResourceName]}, true
}

// watchPods watches the metadata of the node's pods: their spec is not needed, and a watch
// of whole pods would carry every change of their status too.
func watchPods(opts *Options, into *store[k8sclient.PodObject]) (func(context.Context), error) {
	client, err := metadata.NewForConfigAndClient(opts.Config, opts.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make a client for pods: %w", err)
	}
	pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	mine := fields.OneTermEqualSelector("spec.nodeName", opts.Node).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = mine
			return pods.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = mine
			return pods.Watch(ctx, options)
		},
	}
	return reflectInto(lw, &metav1.PartialObjectMetadata{}, into), nil
}

// watchNetworks watches all NetworkAttachmentDefinitions.
func watchNetworks(opts *Options, into *store[network]) (func(context.Context), error) {
	scheme := runtime.NewScheme()
	if err := nadv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make a client for networks: %w", err)
	}
	config := rest.CopyConfig(opts.Config)
	config.APIPath = "/apis"
	config.GroupVersion = &nadv1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON // a custom resource has no protobuf
	config.AcceptContentTypes = runtime.ContentTypeJSON
	client, err := rest.RESTClientForConfigAndClient(config, opts.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make a client for networks: %w", err)
	}
	lw := cache.NewListWatchFromClient(client, "network-attachment-definitions", metav1.NamespaceAll, fields.Everything())
	return reflectInto(lw, &nadv1.NetworkAttachmentDefinition{}, into), nil
}

// minWatchTime and twice that are between two requests of a watch. The API server asks for
// rights and credentials only when a watch begins, so this is how long a right that was
// taken away still counts.
const minWatchTime = 30 * time.Second

// reflectInto gives a function that keeps a store up to date until its context ends.
func reflectInto[T any](lw *cache.ListWatch, expected any, into *store[T]) func(context.Context) {
	reflector := cache.NewReflectorWithOptions(noting(lw, into), expected, into, cache.ReflectorOptions{Name: into.kind})
	return reflector.RunWithContext
}

// noting makes requests that tell the store how they end.
func noting[T any](lw *cache.ListWatch, into *store[T]) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContext(ctx, options)
			into.note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			// A watch that brings the list first keeps client-go's time: one that ended
			// before the list is complete would begin again.
			streams := options.SendInitialEvents != nil && *options.SendInitialEvents
			if !streams {
				options.TimeoutSeconds = new(int64((minWatchTime + rand.N(minWatchTime)).Seconds()))
			}
			w, err := lw.WatchWithContext(ctx, options)
			into.note(err)
			if err == nil && streams {
				into.streaming(w)
			}
			return w, err
		},
	}
}
