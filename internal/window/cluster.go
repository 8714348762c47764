package window

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/validate"
)

// pageSize is how many objects the API server gives in one answer.
const pageSize = "500"

// listed is what validate lists in a cluster.
type listed struct {
	kind, apiVersion, path, name string // name is what a right is for
}

var (
	clusterNetworks = listed{"NetworkAttachmentDefinition", "k8s.cni.cncf.io/v1", "/apis/k8s.cni.cncf.io/v1", "network-attachment-definitions"}
	clusterPods     = listed{"Pod", "v1", "/api/v1", "pods"}
)

// checkKnown refuses flags and files that name no API server, before anything waits for one.
func checkKnown(flags *genericclioptions.ConfigFlags) error {
	if flags.APIServer != nil && *flags.APIServer != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil
	}
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil || len(raw.Clusters) > 0 {
		return err
	}
	return errNoCluster
}

// clusterObject is what validate reads of an object.
type clusterObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations,omitempty"`
	} `json:"metadata"`
	Spec struct {
		Config      *string `json:"config,omitempty"`
		HostNetwork bool    `json:"hostNetwork,omitempty"`
		Claims      any     `json:"resourceClaims,omitempty"`
	} `json:"spec"`
	Status *struct {
		Phase         corev1.PodPhase `json:"phase"`
		Claims        any             `json:"resourceClaimStatuses,omitempty"`
		ExtendedClaim any             `json:"extendedResourceClaimStatus,omitempty"`
	} `json:"status,omitempty"`
}

// isPast reports whether no ADD comes for an object: a pod has ended, or is in the node's own network.
func (o *clusterObject) isPast() bool {
	return o.Spec.HostNetwork || o.Status != nil && (o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed)
}

// readCluster reads networks and pods of a namespace, or of all if it is empty. What cannot be read is
// in the error, and the rest is given all the same.
func readCluster(ctx context.Context, flags *genericclioptions.ConfigFlags, namespace string) ([]validate.File, error) {
	source, err := openCluster(flags)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, source.timeout)
	defer cancel()
	var files []validate.File
	var faults []error
	for _, what := range []listed{clusterNetworks, clusterPods} {
		found, err := what.list(ctx, source.core.RESTClient(), namespace)
		if err != nil {
			faults = append(faults, what.explain(err, namespace))
		}
		files = append(files, found...)
	}
	return files, errors.Join(faults...)
}

// list reads every page.
func (w listed) list(ctx context.Context, client rest.Interface, namespace string) ([]validate.File, error) {
	path := w.path
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	var files []validate.File
	for next := ""; ; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []clusterObject `json:"items"`
		}
		request := client.Get().AbsPath(path, w.name).Param("limit", pageSize)
		if next != "" {
			request = request.Param("continue", next)
		}
		data, err := request.Do(ctx).Raw()
		if err == nil {
			err = json.Unmarshal(data, &page)
		}
		if err != nil {
			return files, err
		}
		for i := range page.Items {
			if file, err := w.file(&page.Items[i]); err == nil && !page.Items[i].isPast() {
				files = append(files, file)
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return files, nil
		}
	}
}

func (w listed) file(o *clusterObject) (validate.File, error) {
	o.APIVersion, o.Kind = w.apiVersion, w.kind
	data, err := json.Marshal(o)
	return validate.File{Name: strings.ToLower(o.Kind) + " " + o.Metadata.Namespace + "/" + o.Metadata.Name, Data: data, Object: true}, err
}

// explain says what is missing: a right, or the definition of the resource.
func (w listed) explain(err error, namespace string) error {
	where := "in every namespace"
	if namespace != "" {
		where = "in the namespace " + namespace
	}
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the right to list %s %s is missing; the ClusterRole plexus-window has it", w.name, where)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster does not know %s: %w", w.name, err)
	}
	return fmt.Errorf("list %s %s: %w", w.name, where, err)
}
