package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// binDir is where the commands are in the image: the agent is its entry point, and installs the
// others from there.
const binDir = "opt/plexus/bin"

// image is one for several platforms.
type image struct {
	index     v1.ImageIndex
	platforms []v1.Platform
	images    []v1.Image // in the order of the platforms
}

// assemble builds the commands for every platform and makes images of them.
func assemble(ctx context.Context, o *options, build builder) (*image, error) {
	created, err := o.stamp.created()
	if err != nil {
		return nil, err
	}
	all := &image{index: mutate.IndexMediaType(empty.Index, types.OCIImageIndex), platforms: o.platforms}
	all.index = mutate.Annotations(all.index, labels(o.stamp, created)).(v1.ImageIndex)
	for _, platform := range o.platforms {
		one, err := assembleOne(ctx, platform, o.stamp, build)
		if err != nil {
			return nil, err
		}
		all.images = append(all.images, one)
		all.index = mutate.AppendManifests(all.index, mutate.IndexAddendum{Add: plain{one}, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return all, nil
}

// plain is an image that the index describes as it does any other: without this, the library
// calls it an artifact of the type of its configuration.
type plain struct{ v1.Image }

// ArtifactType is asked for by package partial.
func (plain) ArtifactType() (string, error) { return "", nil }

func assembleOne(ctx context.Context, platform v1.Platform, s stamp, build builder) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "plexus-image-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the commands: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(ctx, platform, dir); err != nil {
		return nil, err
	}
	created, err := s.created()
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(dir, created)
	if err != nil {
		return nil, fmt.Errorf("make the layer for %s: %w", platform, err)
	}
	one := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	one, err = mutate.ConfigFile(one, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Created: v1.Time{Time: created},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/" + binDir + "/plexus-agent"}, User: "0:0", WorkingDir: "/", Labels: labels(s, created),
			Env: []string{"PATH=/" + binDir},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("configure the image for %s: %w", platform, err)
	}
	return mutate.Append(one, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: created}, CreatedBy: "github.com/plexus-cni/plexus/hack/image", Comment: "the commands",
	}})
}

// labels are those of the OCI image specification.
func labels(s stamp, created time.Time) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "plexus",
		prefix + "description": "A CNI meta-plugin for Kubernetes: its agent, and the plugin that it installs",
		prefix + "source":      "https://github.com/plexus-cni/plexus",
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     s.version,
		prefix + "revision":    s.commit,
		prefix + "created":     created.Format(time.RFC3339),
	}
}

// layerOf makes a layer of the commands in a folder, with their folders, all root's.
func layerOf(dir string, created time.Time) (v1.Layer, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	path := ""
	for _, part := range strings.Split(binDir, "/") {
		path += part + "/"
		if err := w.WriteHeader(header(tar.TypeDir, path, 0, created)); err != nil {
			return nil, err
		}
	}
	for _, command := range commands {
		content, err := os.ReadFile(filepath.Join(dir, command))
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(header(tar.TypeReg, path+command, int64(len(content)), created)); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

func header(kind byte, path string, size int64, created time.Time) *tar.Header {
	return &tar.Header{
		Typeflag: kind, Name: path, Size: size, Mode: 0o755, ModTime: created, Uname: "root", Gname: "root", Format: tar.FormatPAX,
	}
}
