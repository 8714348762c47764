package k8sclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// ErrTokenRefused is the error for a token that the API server does not accept.
var ErrTokenRefused = errors.New("the API server does not accept the token")

// User is whom the API server takes the bearer of a token for.
type User struct {
	Name   string              `json:"username"`
	UID    string              `json:"uid"`
	Groups []string            `json:"groups"`
	Extra  map[string][]string `json:"extra"`
}

// UserOfToken asks the API server whose a token is. The error is ErrTokenRefused if it is
// nobody's, or is for other servers than this one.
func (c *Client) UserOfToken(ctx context.Context, token string) (*User, error) {
	var answer struct {
		Authenticated bool `json:"authenticated"`
		User          User `json:"user"`
	}
	err := c.review(ctx, "authentication.k8s.io", "TokenReview", "tokenreviews", map[string]string{"token": token}, &answer)
	switch {
	case err != nil:
		return nil, err
	case !answer.Authenticated || answer.User.Name == "":
		return nil, ErrTokenRefused
	}
	return &answer.User, nil
}

// MayGet asks the API server whether a user may get a path that is no resource.
func (c *Client) MayGet(ctx context.Context, user *User, path string) (bool, error) {
	var answer struct {
		Allowed bool `json:"allowed"`
	}
	err := c.review(ctx, "authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", map[string]any{
		"user": user.Name, "uid": user.UID, "groups": user.Groups, "extra": user.Extra,
		"nonResourceAttributes": map[string]string{"path": path, "verb": "get"},
	}, &answer)
	return answer.Allowed && err == nil, err
}

// review asks one question of a group, and reads the status of the answer. The body may have
// a token, so no error has a part of it.
func (c *Client) review(ctx context.Context, group, kind, resource string, spec, status any) error {
	body, err := json.Marshal(map[string]any{"apiVersion": group + "/v1", "kind": kind, "spec": spec})
	if err != nil {
		return err
	}
	text, err := c.do(ctx, &call{
		what: "make " + kind, method: http.MethodPost, path: []string{"apis", group, "v1", resource},
		contentType: "application/json", body: body,
	})
	if err != nil {
		return coded(err)
	}
	answer := struct {
		Status any `json:"status"`
	}{status}
	if json.Unmarshal(text, &answer) != nil {
		return fmt.Errorf("make %s at %s: the answer is none", kind, c.server.Redacted())
	}
	return nil
}
