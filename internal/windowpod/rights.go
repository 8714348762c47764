package windowpod

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// right is one that a Role of window pods gives.
type right struct{ verb, resource, name string }

// role is all that the Role plexus-window gives.
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

// capture is what the Role plexus-window-capture gives. The verb is our own: the policies ask whether the
// user has it.
var capture = right{"capture", "pods", ""}

// role is the name of the Role that gives a right.
func (r right) role() string {
	if r == capture {
		return "plexus-window-capture"
	}
	return "plexus-window"
}

// needed gives the rights without which nothing is read, watched or sent.
func (n Needs) needed() []right {
	if n >= Watch {
		return append(slices.Clip(role), capture)
	}
	return role
}

func (r right) String() string { return r.verb + " " + r.resource }

// explain says of a refusal which rights of the Roles are missing; if none is, a policy refused it.
func (c *Cluster) explain(ctx context.Context, err error, used right) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	missing := c.missing(ctx, c.options.Needs.needed())
	if len(missing) == 0 {
		return fmt.Errorf("%w: %s in %s: %w", ErrRefused, used, c.options.Namespace, err)
	}
	return c.lack(missing)
}

// lack is the error for rights that are missing, with what to bind.
func (c *Cluster) lack(missing []right) error {
	var rights, roles []string
	for _, r := range missing {
		rights = append(rights, r.String())
		if role := r.role(); !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	which := "the Role " + roles[0] + " gives"
	if len(roles) > 1 {
		which = "the Roles " + strings.Join(roles, " and ") + " give"
	}
	return fmt.Errorf("%w: this needs %s in %s, which %s there", ErrRight, strings.Join(rights, ", "), c.options.Namespace, which)
}

// missing gives the rights that the user does not have, as far as the API server says so.
func (c *Cluster) missing(ctx context.Context, wanted []right) (missing []right) {
	for _, r := range wanted {
		if allowed, err := c.may(ctx, r); err == nil && !allowed {
			missing = append(missing, r)
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
