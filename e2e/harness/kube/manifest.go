package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// NADs is the resource of the networks.
var NADs = schema.GroupVersionResource{
	Group: "k8s.cni.cncf.io", Version: "v1", Resource: "network-attachment-definitions",
}

// ApplyNADCRD applies deploy/crd.yaml, the definition of NetworkAttachmentDefinition, and returns
// once networks are served.
func (c *Cluster) ApplyNADCRD(ctx context.Context) error {
	if err := c.applyDeploy(ctx, "crd.yaml"); err != nil {
		return err
	}
	return c.wait(ctx, "networks to be served", func(ctx context.Context) (bool, error) {
		_, err := c.dyn.Resource(NADs).List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil, ignoreNotFound(err)
	})
}

// BindNodesReadNADs applies deploy/rbac-nodes.yaml, which lets the nodes read networks, and
// returns once it is in force.
func (c *Cluster) BindNodesReadNADs(ctx context.Context) error {
	if err := c.applyDeploy(ctx, "rbac-nodes.yaml"); err != nil {
		return err
	}
	return c.waitNodeMay(ctx, "any", authorizationv1.ResourceAttributes{
		Verb: "watch", Group: NADs.Group, Version: NADs.Version, Resource: NADs.Resource, Namespace: "default",
	})
}

// ApplyFile applies every object of a manifest, by server-side apply, as an administrator would.
func (c *Cluster) ApplyFile(ctx context.Context, path string) error {
	objects, err := ReadManifest(path)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := c.apply(ctx, object); err != nil {
			return fmt.Errorf("apply %s %s of %s: %w", object.GetKind(), object.GetName(), path, err)
		}
	}
	return nil
}

func (c *Cluster) applyDeploy(ctx context.Context, name string) error {
	dir, err := deployDir()
	if err != nil {
		return err
	}
	return c.ApplyFile(ctx, filepath.Join(dir, name))
}

func (c *Cluster) apply(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := c.resourceOf(object)
	if err != nil {
		return err
	}
	_, err = resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "plexus-e2e", Force: true})
	return err
}

func (c *Cluster) resourceOf(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	groups, err := restmapper.GetAPIGroupResources(c.client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("discover the server's resources: %w", err)
	}
	kind := object.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	resource := c.dyn.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return resource, nil
	}
	return resource.Namespace(object.GetNamespace()), nil
}

// ReadManifest reads the YAML documents of a file.
func ReadManifest(path string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a manifest: %w", err)
	}
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		object := &unstructured.Unstructured{}
		if err == nil {
			err = yaml.Unmarshal(document, &object.Object)
		}
		if err != nil {
			return nil, fmt.Errorf("read a document of manifest %s: %w", path, err)
		}
		if len(object.Object) > 0 { // not only a comment
			objects = append(objects, object)
		}
	}
}

// deployDir finds the repository's folder deploy from the working folder, which in a test is
// that of its package.
func deployDir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the folder deploy: %w", err)
	}
	for dir := start; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		deploy := filepath.Join(dir, "deploy")
		if _, err := os.Stat(filepath.Join(deploy, "crd.yaml")); err == nil {
			return deploy, nil
		}
	}
	return "", fmt.Errorf("find the folder deploy: none with crd.yaml above %s", start)
}

// waitNodeMay waits until a node's identity may do what is asked for. The Node authorizer and
// RBAC learn of objects by watches, so a right comes a little after the object that gives it.
func (c *Cluster) waitNodeMay(ctx context.Context, node string, what authorizationv1.ResourceAttributes) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: nodePrefix + node, Groups: []string{nodeGroup}, ResourceAttributes: &what,
	}}
	goal := fmt.Sprintf("node %s to be allowed to %s %s %s/%s", node, what.Verb, what.Resource, what.Namespace, what.Name)
	return c.wait(ctx, goal, func(ctx context.Context) (bool, error) {
		answer, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, err
	})
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
