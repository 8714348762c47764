package cluster

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

const (
	pauseImage = "localhost/pause:e2e"
	// BusyboxImage is what the scenarios' pods run.
	BusyboxImage = "localhost/busybox:e2e"
	busybox      = "/bin/busybox"
	// PlexusImage is that of the manifests in deploy/.
	PlexusImage = "localhost/plexus:v0.0.0-dev"
)

// applets are the links to busybox in its image.
var applets = []string{"sh", "sleep", "ping", "ip", "nc", "httpd", "wget", "cat", "ls", "echo", "true", "hostname", "kill", "arping", "mkdir"}

// images makes image files, each once, from what is on this machine: there is no registry.
type images struct {
	dir        string
	repository string // the source of Plexus
}

// base gives the images of sandboxes and pods.
func (i *images) base() ([]string, error) {
	layer, err := busyboxLayer()
	if err != nil {
		return nil, fmt.Errorf("make an image of %s (Debian's busybox-static): %w", busybox, err)
	}
	var files []string
	for ref, entry := range map[string][]string{
		pauseImage:   {busybox, "sleep", "2147483647"},
		BusyboxImage: {"/bin/sh", "-c", "trap exit TERM; while :; do sleep 86400 & wait; done"},
	} {
		file, err := i.write(ref, layer, entry)
		if err != nil {
			return nil, fmt.Errorf("make image %s: %w", ref, err)
		}
		files = append(files, file)
	}
	return files, nil
}

func (i *images) write(ref string, layer v1.Layer, entry []string) (string, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", err
	}
	file := filepath.Join(i.dir, tag.TagStr()+"-"+filepath.Base(tag.RepositoryStr())+".tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: entry, Env: []string{"PATH=/bin"}},
	})
	if err != nil {
		return "", err
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return "", err
	}
	return file, tarball.WriteToFile(file, tag, image)
}

// busyboxLayer has busybox, its links and the folders that a container wants.
func busyboxLayer() (v1.Layer, error) {
	executable, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	entries := []*tar.Header{{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(executable))}}
	for _, dir := range []string{"etc", "proc", "sys", "dev", "tmp", "run"} {
		entries = append(entries, &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	for _, applet := range applets {
		entries = append(entries, &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox"})
	}
	for _, entry := range entries {
		if err := w.WriteHeader(entry); err != nil {
			return nil, err
		}
		if entry.Typeflag == tar.TypeReg {
			if _, err := w.Write(executable); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
}

// plexus builds the container image of Plexus, as make image does, with a version and a tag.
func (i *images) plexus(ref, version string) (string, error) {
	file := filepath.Join(i.dir, "plexus-"+version+".tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	_, err := proc.Lasting().Run(os.Getenv(imageBuilderVar), "--source", i.repository, "--output", file, "--docker", "--platforms", "linux/"+runtime.GOARCH,
		"--ref", ref, "--version", version, "--commit", "unknown", "--date", "2026-01-01T00:00:00Z")
	return file, err
}
