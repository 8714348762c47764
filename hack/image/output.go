package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// write writes the files, and says which.
func (i *image) write(o *options, tag name.Tag, out io.Writer) error {
	digest, err := i.index.Digest()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.output), 0o755); err != nil {
		return err
	}
	if err := i.writeLayout(o.output, tag); err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	fmt.Fprintf(out, "%s  %s  %s  %s\n", o.output, o.ref, digest, o.platforms.String())
	if !o.docker {
		return nil
	}
	for n, platform := range i.platforms {
		path := strings.TrimSuffix(o.output, ".tar") + "-" + strings.ReplaceAll(platform.String(), "/", "-") + ".docker.tar"
		if err := tarball.WriteToFile(path, tag, i.images[n]); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Fprintf(out, "%s  %s  for docker load\n", path, o.ref)
	}
	return nil
}

// writeLayout writes a tar of an OCI layout.
func (i *image) writeLayout(path string, tag name.Tag) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".plexus-layout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	into, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = into.AppendIndex(i.index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          tag.Name(), // containerd reads the whole name here
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}))
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := tarFolder(file, dir); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// tarFolder writes the files of a folder, in the order of their names and without their dates, so
// that equal folders give equal tars.
func tarFolder(to io.Writer, dir string) error {
	w := tar.NewWriter(to)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(0, 0)})
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// push sends the image to the registry of its name.
func (i *image) push(ctx context.Context, tag name.Tag, out io.Writer) error {
	err := remote.WriteIndex(tag, i.index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return fmt.Errorf("push %s: %w", tag, err)
	}
	digest, err := i.index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s@%s\n", tag.Context(), digest)
	return nil
}
