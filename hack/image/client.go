package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// client is the plugin of kubectl, which runs where kubectl does.
const client = "kubectl-plexus"

// releaseClients writes an archive of the client for each platform, and krew's manifest of them.
func releaseClients(ctx context.Context, o *options, created time.Time) error {
	pages, err := manPages(ctx, o)
	if err != nil {
		return err
	}
	var archives []archive
	for _, platform := range o.clients {
		made, err := releaseClient(ctx, o, platform, pages, created)
		if err != nil {
			return err
		}
		archives = append(archives, made)
	}
	manifest, err := krewManifest(o, archives)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.release, "plexus.yaml"), manifest, 0o644)
}

// archive is one of the client, as krew's manifest names it.
type archive struct{ OS, Arch, File, Sum string }

// Executable is the client's file in it.
func (a archive) Executable() string { return executable(a.OS) }

func executable(system string) string {
	if system == "windows" {
		return client + ".exe"
	}
	return client
}

// releaseClient builds the client for a platform, and packs it with its completion, its pages and the licence.
func releaseClient(ctx context.Context, o *options, platform v1.Platform, pages []entry, created time.Time) (archive, error) {
	dir, err := os.MkdirTemp("", "plexus-client-")
	if err != nil {
		return archive{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := goBuild(o.source, o.stamp, client)(ctx, platform, dir); err != nil {
		return archive{}, err
	}
	binary, err := os.ReadFile(filepath.Join(dir, executable(platform.OS)))
	script, scriptErr := os.ReadFile(filepath.Join(o.source, "cmd", client, "kubectl_complete-plexus"))
	licence, licenceErr := os.ReadFile(filepath.Join(o.source, "LICENSE"))
	if err := errors.Join(err, scriptErr, licenceErr); err != nil {
		return archive{}, err
	}
	all := append([]entry{{executable(platform.OS), 0o755, binary}, {"kubectl_complete-plexus", 0o755, script}, {"LICENSE", 0o644, licence}}, pages...)
	made := archive{OS: platform.OS, Arch: platform.Architecture, File: client + "-" + o.stamp.version + "-" + platform.OS + "-" + platform.Architecture + ".tar.gz"}
	path := filepath.Join(o.release, made.File)
	if err := writeArchive(path, all, created); err != nil {
		return archive{}, err
	}
	content, err := os.ReadFile(path)
	made.Sum = fmt.Sprintf("%x", sha256.Sum256(content))
	return made, err
}

// manPages makes the manual pages of the client.
func manPages(ctx context.Context, o *options) ([]entry, error) {
	dir, err := os.MkdirTemp("", "plexus-man-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.CommandContext(ctx, "go", "run", "-trimpath", "-buildvcs=false", "-ldflags", o.stamp.ldflags(), "./internal/window/man", dir)
	cmd.Dir = o.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the manual pages: %w\n%s", err, out)
	}
	return readTree(dir, "man", "")
}

// krewManifest says where krew finds the client, in the form that its index has.
func krewManifest(o *options, archives []archive) ([]byte, error) {
	var text bytes.Buffer
	err := krew.Execute(&text, map[string]any{"Version": o.stamp.version, "Archives": archives, "Downloads": strings.TrimSuffix(o.downloads, "/")})
	return text.Bytes(), err
}

var krew = template.Must(template.New("krew").Parse(`apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: plexus
spec:
  version: {{.Version}}
  homepage: https://github.com/plexus-cni/plexus
  shortDescription: Explain, validate and inspect networks of pods
  description: |
    Says to which networks a pod is attached, what is wrong with them, and
    which way its packets take. On Linux it also reads the node that it runs on.
  platforms:
{{- range .Archives}}
  - selector:
      matchLabels:
        os: {{.OS}}
        arch: {{.Arch}}
    uri: {{$.Downloads}}/{{.File}}
    sha256: {{.Sum}}
    bin: {{.Executable}}
    files:
    - from: {{.Executable}}
      to: .
    - from: LICENSE
      to: .
{{- end}}
`))
