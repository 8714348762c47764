package k8sclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// userFiles is what a user's credentials are found by.
type userFiles struct {
	dir     string // of the kubeconfig
	cluster *kubeCluster
}

// authenticate gives the credentials of the user to the way to the API server.
func (u *kubeUser) authenticate(ctx context.Context, a *access, files *userFiles) error {
	if u.AuthProvider != nil {
		return errors.New("user: auth-provider is no longer supported by Kubernetes: use exec")
	}
	if err := u.certificate(a, files.dir); err != nil {
		return fmt.Errorf("user: client-certificate: %w", err)
	}
	if err := u.token(a, files.dir); err != nil {
		return fmt.Errorf("user: tokenFile: %w", err)
	}
	if u.Username != "" {
		a.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username+":"+u.Password)))
	}
	u.impersonate(a)
	if u.Exec == nil {
		return nil
	}
	return u.Exec.authenticate(ctx, a, files)
}

func (u *kubeUser) certificate(a *access, dir string) error {
	certificate, err := inlineOrFile(u.CertificateIn, u.Certificate, dir)
	if err != nil || len(certificate) == 0 {
		return err
	}
	key, err := inlineOrFile(u.KeyIn, u.Key, dir)
	if err != nil {
		return err
	}
	if err := a.present(certificate, key); err != nil {
		return fmt.Errorf("%s %w", absolute(u.Certificate, dir), err)
	}
	return nil
}

// token prefers the file, which is renewed.
func (u *kubeUser) token(a *access, dir string) error {
	token := u.Token
	if u.TokenFile != "" {
		data, err := os.ReadFile(absolute(u.TokenFile, dir))
		if err != nil && token == "" {
			return err
		}
		if err == nil {
			token = string(data)
		}
	}
	if token != "" {
		a.presentToken(token)
	}
	return nil
}

func (u *kubeUser) impersonate(a *access) {
	if u.As == "" {
		return
	}
	a.header.Set("Impersonate-User", u.As)
	if u.AsUID != "" {
		a.header.Set("Impersonate-Uid", u.AsUID)
	}
	for _, group := range u.AsGroups {
		a.header.Add("Impersonate-Group", group)
	}
	for key, values := range u.AsExtra {
		for _, value := range values {
			a.header.Add("Impersonate-Extra-"+url.PathEscape(key), value)
		}
	}
}

// malformed tells where a kubeconfig cannot be read, but not what is there: it may be
// a token.
func malformed(err error) error {
	var field *json.UnmarshalTypeError
	if errors.As(err, &field) {
		return fmt.Errorf("%s: must be a %s, got a %s", field.Field, field.Type, field.Value)
	}
	var encoding base64.CorruptInputError
	if errors.As(err, &encoding) {
		return fmt.Errorf("a field whose name ends in -data is not base64: %w", encoding)
	}
	_, line, _ := strings.Cut(err.Error(), "yaml: line ")
	line, _, _ = strings.Cut(line, ":")
	if _, err := strconv.Atoi(line); err == nil {
		return fmt.Errorf("is not valid YAML, line %s", line)
	}
	return errors.New("is not valid YAML")
}
