//go:build linux

package collect

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/inspect"
)

// kubeUser is the part of a kubeconfig that has credentials.
type kubeUser struct {
	Certificate     string `yaml:"client-certificate"`
	CertificateData string `yaml:"client-certificate-data"`
	Token           string `yaml:"token"`
	TokenFile       string `yaml:"tokenFile"`
}

// readCredentials says how old the credentials of a kubeconfig are, and when they end. No secret leaves this file.
func (c *collector) readCredentials(kubeconfig string) {
	if kubeconfig == "" {
		return
	}
	if c.options.hides(filepath.Dir(kubeconfig)) {
		c.snapshot.CNI.Unseen = append(c.snapshot.CNI.Unseen, kubeconfig)
		return
	}
	credentials := &inspect.Credentials{File: kubeconfig}
	c.snapshot.CNI.Credentials = credentials
	path := c.onHost(kubeconfig)
	data, err := confdir.ReadSmall(path)
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(path); err == nil {
			credentials.Modified = info.ModTime().UTC().Truncate(time.Second)
		}
	}
	var user kubeUser
	if err == nil {
		user, err = userOf(data)
	}
	if err == nil {
		err = c.describeUser(credentials, &user)
	}
	if err != nil {
		credentials.Fault = err.Error()
	}
}

// userOf gives the first user of a kubeconfig. The error has nothing of the content.
func userOf(data []byte) (kubeUser, error) {
	var config struct {
		Users []struct {
			User kubeUser `yaml:"user"`
		} `yaml:"users"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		return kubeUser{}, errors.New("it is no kubeconfig: it is not YAML")
	}
	if len(config.Users) == 0 {
		return kubeUser{}, errors.New("it is no kubeconfig: it names no user")
	}
	return config.Users[0].User, nil
}

// describeUser finds the kind of the credentials and their end, and reads the files that they are in.
func (c *collector) describeUser(credentials *inspect.Credentials, user *kubeUser) (err error) {
	read := func(file string) []byte {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(credentials.File), file)
		}
		data, readErr := confdir.ReadSmall(c.onHost(file))
		err = readErr
		return data
	}
	switch {
	case user.CertificateData != "":
		data, _ := base64.StdEncoding.DecodeString(user.CertificateData)
		credentials.Kind, credentials.Expires = "client certificate", endOfCertificate(data)
	case user.Certificate != "":
		credentials.Kind, credentials.Expires = "client certificate in a file", endOfCertificate(read(user.Certificate))
	case user.Token != "":
		credentials.Kind, credentials.Expires = "token", endOfToken(user.Token)
	case user.TokenFile != "":
		credentials.Kind, credentials.Expires = "token in a file", endOfToken(string(bytes.TrimSpace(read(user.TokenFile))))
	default:
		credentials.Kind = "of another kind"
	}
	return err
}

// endOfCertificate gives the end of the first certificate that ends, the zero time if there is none.
func endOfCertificate(data []byte) (end time.Time) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return end
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && (end.IsZero() || certificate.NotAfter.Before(end)) {
			end = certificate.NotAfter.UTC()
		}
		data = rest
	}
}

// endOfToken gives the end of a token that says so: one of a service account is a JWT.
func endOfToken(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0).UTC()
}
