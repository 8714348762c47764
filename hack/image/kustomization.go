package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
)

// writeKustomization writes a kustomization that deploys this image: manifests that name the same
// image for every build would change nothing when they are applied again.
func (i *image) writeKustomization(o *options, tag name.Tag, out io.Writer) error {
	dir, err := filepath.Abs(o.kustomization)
	if err != nil {
		return err
	}
	deploy, err := filepath.Abs(o.deploy)
	if err != nil {
		return err
	}
	resource, err := filepath.Rel(dir, deploy)
	if err != nil {
		return err
	}
	which := fmt.Sprintf("newTag: %q", tag.TagStr()) // without quotes, 1.0 would be a number
	if o.push {
		digest, err := i.index.Digest()
		if err != nil {
			return err
		}
		which = "digest: " + digest.String()
	}
	text := fmt.Sprintf(`# Made by make image. kubectl apply -k deploys the image that it made.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - %s
images:
  - name: %s
    newName: %s
    %s
`, filepath.ToSlash(resource), devRepository, tag.Context(), which)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.kustomization, "kustomization.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s  for kubectl apply -k %s\n", path, o.kustomization)
	return nil
}
