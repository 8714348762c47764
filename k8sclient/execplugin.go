package k8sclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// errPlugin is the error for a credential plugin that gives no credentials this time.
var errPlugin = errors.New("credential plugin")

const execKind = "ExecCredential"

// execPlugin is a program that prints credentials, as the API
// client.authentication.k8s.io says.
type execPlugin struct {
	APIVersion string   `json:"apiVersion"`
	Command    string   `json:"command"`
	Args       []string `json:"args"`
	Env        []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env"`
	ProvideClusterInfo bool   `json:"provideClusterInfo"`
	InteractiveMode    string `json:"interactiveMode"`
}

// execCredential is what the plugin is told, and what it prints.
type execCredential struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Spec       execSpec    `json:"spec"`
	Status     *execStatus `json:"status,omitempty"`
}

type execSpec struct {
	Interactive bool         `json:"interactive"`
	Cluster     *execCluster `json:"cluster,omitempty"`
}

type execCluster struct {
	Server     string `json:"server,omitempty"`
	ServerName string `json:"tls-server-name,omitempty"`
	Insecure   bool   `json:"insecure-skip-tls-verify,omitempty"`
	Authority  []byte `json:"certificate-authority-data,omitempty"`
	ProxyURL   string `json:"proxy-url,omitempty"`
}

type execStatus struct {
	Token       string `json:"token"`
	Certificate string `json:"clientCertificateData"`
	Key         string `json:"clientKeyData"`
}

// authenticate runs the plugin and uses what it prints.
func (p *execPlugin) authenticate(ctx context.Context, a *access, files *userFiles) error {
	if p.Command == "" || p.APIVersion == "" {
		return errors.New("user: exec: command and apiVersion must not be empty")
	}
	if p.InteractiveMode == "Always" {
		return fmt.Errorf("user: exec: %s wants to ask a person (interactiveMode %s): there is none", p.Command, p.InteractiveMode)
	}
	status, err := p.run(ctx, files)
	if err != nil {
		return fmt.Errorf("user: exec: %w %s: %w", errPlugin, p.Command, err)
	}
	if status.Certificate != "" {
		if err := a.present([]byte(status.Certificate), []byte(status.Key)); err != nil {
			return fmt.Errorf("user: exec: %w %s: certificate: %w", errPlugin, p.Command, err)
		}
	}
	if status.Token != "" {
		a.presentToken(status.Token)
	}
	return nil
}

func (p *execPlugin) run(ctx context.Context, files *userFiles) (*execStatus, error) {
	info, err := p.info(files)
	if err != nil {
		return nil, err
	}
	command := p.Command
	if filepath.Base(command) != command {
		command = absolute(command, files.dir)
	}
	cmd := exec.CommandContext(ctx, command, p.Args...)
	cmd.WaitDelay = time.Second // for a grandchild that holds the pipes
	cmd.Env = append(os.Environ(), "KUBERNETES_EXEC_INFO="+string(info))
	for _, variable := range p.Env {
		cmd.Env = append(cmd.Env, variable.Name+"="+variable.Value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, shorten(strings.TrimSpace(stderr.String()), 1<<10))
	}
	return p.parse(output)
}

// info is what the plugin is told.
func (p *execPlugin) info(files *userFiles) ([]byte, error) {
	told := execCredential{APIVersion: p.APIVersion, Kind: execKind}
	if p.ProvideClusterInfo {
		c := files.cluster
		authorities, err := inlineOrFile(c.AuthorityIn, c.Authority, files.dir)
		if err != nil {
			return nil, err
		}
		told.Spec.Cluster = &execCluster{
			Server: c.Server, ServerName: c.ServerName, Insecure: c.Insecure, Authority: authorities, ProxyURL: c.ProxyURL,
		}
	}
	return json.Marshal(told)
}

// parse reads what the plugin printed. Its errors say nothing of the content.
func (p *execPlugin) parse(output []byte) (*execStatus, error) {
	var printed execCredential
	switch err := json.Unmarshal(output, &printed); {
	case err != nil:
		return nil, errors.New("printed something that is not valid JSON")
	case printed.Kind != execKind || printed.APIVersion != p.APIVersion:
		return nil, fmt.Errorf("printed a %s of %q, not an %s of %q", printed.Kind, printed.APIVersion, execKind, p.APIVersion)
	case printed.Status == nil, printed.Status.Token == "" && printed.Status.Certificate == "":
		return nil, errors.New("printed neither a token nor a certificate")
	case (printed.Status.Certificate == "") != (printed.Status.Key == ""):
		return nil, errors.New("printed only one of certificate and key")
	}
	return printed.Status, nil
}
