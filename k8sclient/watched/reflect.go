package watched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	nadv1 "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	corev1 "k8s.io/api/core/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// metadataList asks for a list of objects without what they specify.
const metadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

// watchPods watches the metadata of the node's pods: their spec is not needed, and a watch
// of whole pods would carry every change of their status too. Pods that have finished have
// no sandbox, and there may be any number of them.
func watchPods(opts *Options, into *store[pod]) (func(context.Context), error) {
	client, err := metadata.NewForConfigAndClient(opts.Config, opts.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make a client for pods: %w", err)
	}
	lister, err := jsonClient(opts, "/api", corev1.SchemeGroupVersion, metainternalversion.Codecs.WithoutConversion())
	if err != nil {
		return nil, fmt.Errorf("make a client for pods: %w", err)
	}
	pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	mine := fields.AndSelectors(
		fields.OneTermEqualSelector("spec.nodeName", opts.Node),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = mine
			request := lister.Get().Resource("pods").SetHeader("Accept", metadataList)
			return list(ctx, request, &options, into, func() any { return &metav1.PartialObjectMetadata{} })
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
	client, err := jsonClient(opts, "/apis", nadv1.SchemeGroupVersion, serializer.NewCodecFactory(scheme).WithoutConversion())
	if err != nil {
		return nil, fmt.Errorf("make a client for networks: %w", err)
	}
	const resource = "network-attachment-definitions"
	lw := cache.NewListWatchFromClient(client, resource, metav1.NamespaceAll, fields.Everything())
	lw.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, client.Get().Resource(resource), &options, into, func() any { return &nadv1.NetworkAttachmentDefinition{} })
	}
	return reflectInto(lw, &nadv1.NetworkAttachmentDefinition{}, into), nil
}

// jsonClient makes a client that is answered in JSON: a custom resource has no protobuf.
func jsonClient(opts *Options, path string, group schema.GroupVersion, codecs runtime.NegotiatedSerializer) (*rest.RESTClient, error) {
	config := rest.CopyConfig(opts.Config)
	config.APIPath = path
	config.GroupVersion = &group
	config.NegotiatedSerializer = codecs
	config.ContentType = runtime.ContentTypeJSON
	config.AcceptContentTypes = runtime.ContentTypeJSON
	return rest.RESTClientForConfigAndClient(config, opts.HTTP)
}

// minWatchTime and twice that are between two requests of a watch. The API server asks for
// rights and credentials only when a watch begins, so this is how long a right that was
// taken away still counts.
const minWatchTime = 30 * time.Second

// reflectInto gives a function that keeps a store up to date until its context ends.
func reflectInto[T item[T]](lw *cache.ListWatch, expected any, into *store[T]) func(context.Context) {
	reflector := cache.NewReflectorWithOptions(noting(lw, into), expected, into, cache.ReflectorOptions{Name: into.kind})
	return reflector.RunWithContext
}

// noting makes requests that tell the store how they end.
func noting[T item[T]](lw *cache.ListWatch, into *store[T]) *cache.ListWatch {
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
			if streams {
				into.listAgain()
			} else {
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
