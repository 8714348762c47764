package windowpod

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Errors of the cluster that whoever runs a command can do something about.
var (
	// ErrRight is the error for a right that is missing.
	ErrRight = errors.New("a right is missing")
	// ErrRefused is the error for a pod, or an exec, that a policy of the cluster refuses.
	ErrRefused = errors.New("a policy of the cluster refuses it")
)

// right is one that the Role plexus-window gives.
type right struct{ verb, resource, name string }

// role is all of them.
var role = []right{
	{"get", "configmaps", configMap},
	{"create", "pods", ""},
	{"get", "pods", ""},
	{"list", "pods", ""},
	{"watch", "pods", ""},
	{"delete", "pods", ""},
	{"create", "pods/exec", ""},
	{"get", "pods/exec", ""},
}

func (r right) String() string { return r.verb + " " + r.resource }

// explain says of a refusal which rights of the Role are missing; if none is, a policy refused it.
func (c *Cluster) explain(ctx context.Context, err error, used right) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	missing := c.missing(ctx)
	if len(missing) == 0 {
		return fmt.Errorf("%w: %s in %s: %w", ErrRefused, used, c.options.Namespace, err)
	}
	return fmt.Errorf("%w: this needs %s in %s, which the Role plexus-window gives there", ErrRight, strings.Join(missing, ", "), c.options.Namespace)
}

// missing gives the rights of the Role that the user does not have, as far as the API server says so.
func (c *Cluster) missing(ctx context.Context) (missing []string) {
	for _, r := range role {
		if allowed, err := c.may(ctx, r); err == nil && !allowed {
			missing = append(missing, r.String())
		}
	}
	return missing
}

func (c *Cluster) may(ctx context.Context, r right) (bool, error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	resource, subresource, _ := strings.Cut(r.resource, "/")
	review, err := c.rights.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: c.options.Namespace, Verb: r.verb, Resource: resource, Subresource: subresource, Name: r.name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
