package watched

import (
	"crypto/sha256"
	"fmt"
	"strings"

	nadv1 "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// What a node keeps of objects that tenants make. Whatever is larger is read live.
const (
	maxConfig     = 64 << 10 // of a network's configuration
	maxAnnotation = 4 << 10  // of each annotation
	maxPods       = 8 << 20  // of all pods
	maxNetworks   = 16 << 20 // of all networks, compressed
	// bareShare is the part of these by which objects of which only the bare is kept may
	// go beyond.
	bareShare = 4
	// entrySize is what an object takes beside its texts.
	entrySize = 256
)

// item is the part of an object that a store keeps.
type item[T any] interface {
	// size is the memory that it takes, in bytes.
	size() int
	// bare is what is kept where there is no room for all.
	bare() T
	// whole reports whether a question can be answered from it.
	whole() bool
}

// network is the part of a NetworkAttachmentDefinition that is kept.
type network struct {
	config       packed
	resourceName string
	claim        string // of the annotation plexus-cni.io/claim
	length       int    // of the configuration in an answer, also where it is not kept
	notKept      bool   // only its length is
}

func (n network) size() int {
	return entrySize + len(n.config.data) + len(n.resourceName) + len(n.claim)
}
func (n network) bare() network { return network{length: n.length, notKept: true} }
func (n network) whole() bool   { return !n.notKept }

func networkOf(object any) (network, bool) {
	definition, ok := object.(*nadv1.NetworkAttachmentDefinition)
	if !ok {
		return network{}, false
	}
	n := network{
		resourceName: definition.Annotations[types.AnnotationResourceName], claim: definition.Annotations[types.AnnotationClaim],
		length: jsonLength(definition.Spec.Config),
	}
	if len(definition.Spec.Config) > maxConfig || len(n.resourceName) > maxAnnotation || len(n.claim) > maxAnnotation {
		return n.bare(), true
	}
	n.config = pack(definition.Spec.Config)
	n.resourceName, n.claim = strings.Clone(n.resourceName), strings.Clone(n.claim)
	return n, true
}

// jsonLength gives the length of a text in an answer, at most: as a JSON string.
func jsonLength(text string) int {
	const escaped = len(`\u0000`)
	length := len(`""`)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
			length += 2
		case c < ' ' || c == '<' || c == '>' || c == '&' || c >= 0x80:
			length += escaped
		default:
			length++
		}
	}
	return length
}

// pod is the part of a pod that is kept.
type pod struct {
	k8sclient.PodObject
	notKept bool // only its UID and version are
}

func (p pod) size() int {
	size := entrySize + len(p.UID) + len(p.ResourceVersion)
	for key, value := range p.Annotations {
		size += len(key) + len(value)
	}
	return size
}

func (p pod) bare() pod {
	return pod{k8sclient.PodObject{UID: p.UID, ResourceVersion: p.ResourceVersion}, true}
}

func (p pod) whole() bool {
	for _, key := range types.ReadAnnotations {
		if isAbridged(p.Annotations[key]) {
			return false
		}
	}
	return !p.notKept
}

// keptAnnotations are the annotations of a pod that Plexus reads.
var keptAnnotations = append([]string{
	types.AnnotationNetworkStatus, types.AnnotationConfigSource, types.AnnotationConfigHash, types.AnnotationConfigMirror,
}, types.ReadAnnotations...)

func podOf(object any) (pod, bool) {
	meta, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return pod{}, false
	}
	return pod{Reduce(k8sclient.PodObject{
		UID: strings.Clone(string(meta.UID)), ResourceVersion: strings.Clone(meta.ResourceVersion), Annotations: meta.Annotations,
	}), false}, true
}

// Reduce gives the part of a pod that is worth keeping: the annotations that Plexus reads,
// as Abridge makes them.
func Reduce(pod k8sclient.PodObject) k8sclient.PodObject {
	kept := map[string]string{}
	for _, key := range keptAnnotations {
		if value, ok := pod.Annotations[key]; ok {
			kept[key] = Abridge(value)
		}
	}
	pod.Annotations = kept
	return pod
}

// abridged begins a text that stands for a long one. It is no UTF-8.
const abridged = "\xff"

// Abridge gives what is kept of an annotation: the text, or, of a long one, its hash. Two
// texts are equal if what it gives of them is.
func Abridge(text string) string {
	if len(text) <= maxAnnotation && !isAbridged(text) {
		return strings.Clone(text)
	}
	hash := sha256.Sum256([]byte(text))
	return abridged + string(hash[:])
}

func isAbridged(text string) bool { return strings.HasPrefix(text, abridged) }

// arrival is an object as a list or a watch brings it, reduced at once: a list of all
// objects may be far larger than what is kept of it.
type arrival[T item[T]] struct {
	ref  types.Ref
	item T
}

// GetObjectKind is part of runtime.Object.
func (*arrival[T]) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject is part of runtime.Object. Nobody changes an arrival.
func (a *arrival[T]) DeepCopyObject() runtime.Object { return a }

// arrived reduces an object, unless that is done.
func (s *store[T]) arrived(object any) (*arrival[T], error) {
	if a, ok := object.(*arrival[T]); ok {
		return a, nil
	}
	ref, err := refOf(object)
	item, ok := s.reduce(object)
	if err != nil || !ok {
		return nil, fmt.Errorf("unexpected %T: %w", object, err)
	}
	return &arrival[T]{types.Ref{Namespace: strings.Clone(ref.Namespace), Name: strings.Clone(ref.Name)}, item}, nil
}

// arriving reduces an object of a list that is not complete yet. Where the list takes too
// much, only what is bare of it is kept.
func (s *store[T]) arriving(object any) (any, error) {
	a, err := s.arrived(object)
	if err != nil {
		return object, nil //nolint:nilerr // Replace refuses it, and says so
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing += fit(&a.item, s.limit-s.listing)
	return a, nil
}

// fit makes an object bare that does not fit into the room that is left, and gives its size.
func fit[T item[T]](i *T, room int) int {
	if (*i).size() > room {
		*i = (*i).bare()
	}
	return (*i).size()
}
