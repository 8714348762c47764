package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var testStamp = stamp{version: "v1.2.3", commit: "abc", date: "2026-01-02T03:04:05Z"}

// fakeBuild writes a text for each command.
func fakeBuild(_ context.Context, platform v1.Platform, dir string) error {
	var errs []error
	for _, command := range commands {
		errs = append(errs, os.WriteFile(filepath.Join(dir, command), []byte(command+" for "+platform.String()), 0o600))
	}
	return errors.Join(errs...)
}

// made makes the image, and writes its files into a folder.
func made(t *testing.T, build builder, args ...string) (dir string, i *image) {
	t.Helper()
	dir = t.TempDir()
	o, err := parse(append([]string{"--output", filepath.Join(dir, "plexus.tar"), "--docker"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.stamp = testStamp
	if i, err = assemble(t.Context(), o, build); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(o.ref, name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.write(o, tag, io.Discard); err != nil {
		t.Fatal(err)
	}
	return dir, i
}

// entries are the headers of a tar, and its contents by name.
func entries(t *testing.T, r io.Reader) (headers []*tar.Header, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	for in := tar.NewReader(r); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err == nil {
			contents[header.Name], err = io.ReadAll(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, header)
	}
}

// open reads the image of the layout that a tar has.
func open(t *testing.T, path string) v1.ImageIndex {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, contents := entries(t, bytes.NewReader(data))
	for name, content := range contents {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := index.IndexManifest()
	if err != nil || len(top.Manifests) != 1 || top.Manifests[0].Annotations["io.containerd.image.name"] != "localhost/plexus:v0.0.0-dev" {
		t.Fatalf("index.json: %v, %+v", err, top)
	}
	inner, err := index.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

func TestImage(t *testing.T) {
	dir, _ := made(t, fakeBuild)
	index := open(t, filepath.Join(dir, "plexus.tar"))
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, descriptor := range manifest.Manifests {
		got = append(got, descriptor.Platform.String())
		if descriptor.ArtifactType != "" {
			t.Errorf("it is called an artifact of type %s", descriptor.ArtifactType)
		}
		one, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, one, descriptor.Platform)
	}
	if strings.Join(got, ",") != "linux/amd64,linux/arm64" {
		t.Errorf("platforms %v", got)
	}
	if manifest.Annotations["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("annotations %v", manifest.Annotations)
	}
}

func checkImage(t *testing.T, one v1.Image, platform *v1.Platform) {
	t.Helper()
	config, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	created, _ := testStamp.created()
	if config.OS != platform.OS || config.Architecture != platform.Architecture || !config.Created.Equal(created) {
		t.Errorf("it is for %s/%s, of %s", config.OS, config.Architecture, config.Created)
	}
	if c := config.Config; fmt.Sprintf("%v %v %s", c.Entrypoint, c.Cmd, c.User) != "[/opt/plexus/bin/plexus-agent] [] 0:0" {
		t.Errorf("it runs %v %v as %s", c.Entrypoint, c.Cmd, c.User)
	}
	for label, want := range map[string]string{"version": "v1.2.3", "revision": "abc", "created": testStamp.date, "licenses": "Apache-2.0"} {
		if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q", label, got)
		}
	}
	headers, contents := entries(t, onlyLayer(t, one))
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.FileInfo().Mode().Perm() != 0o755 || !h.ModTime.Equal(created) {
			t.Errorf("%s: %d:%d %s %s", h.Name, h.Uid, h.Gid, h.FileInfo().Mode(), h.ModTime)
		}
	}
	want := "opt/ opt/plexus/ opt/plexus/bin/ opt/plexus/bin/plexus opt/plexus/bin/plexus-agent opt/plexus/bin/plexus-once opt/plexus/bin/plexus-sriov opt/plexus/bin/plexus-vhostuser opt/plexus/bin/kubectl-plexus"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("it has %s, want %s", got, want)
	}
	if got := string(contents["opt/plexus/bin/plexus"]); got != "plexus for "+platform.String() {
		t.Errorf("plexus is %q", got)
	}
}

// onlyLayer gives the content of an image that has one layer.
func onlyLayer(t *testing.T, one v1.Image) io.Reader {
	t.Helper()
	layers, err := one.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = content.Close() })
	return content
}

func TestImageForDocker(t *testing.T) {
	dir, i := made(t, fakeBuild, "--platforms", "linux/arm64")
	tag, err := name.NewTag("localhost/plexus:v0.0.0-dev")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(filepath.Join(dir, "plexus-linux-arm64.docker.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	want, err := i.images[0].ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := loaded.ConfigName(); got != want || err != nil {
		t.Errorf("docker loads image %s (%v), want %s", got, err, want)
	}
	files, err := os.ReadDir(dir)
	if len(files) != 2 || err != nil {
		t.Errorf("files %v, %v", files, err)
	}
}

// TestImageOfCommands builds the commands as they are, twice, and runs them.
func TestImageOfCommands(t *testing.T) {
	platform := "linux/" + runtime.GOARCH
	build := goBuild("../..", testStamp, commands...)
	first, i := made(t, build, "--platforms", platform)
	second, _ := made(t, build, "--platforms", platform)
	one, err := os.ReadFile(filepath.Join(first, "plexus.tar"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(second, "plexus.tar"))
	if err != nil || !bytes.Equal(one, other) {
		t.Errorf("two builds differ (%v)", err)
	}
	_, contents := entries(t, onlyLayer(t, i.images[0]))
	dir := t.TempDir()
	for _, command := range commands {
		path := filepath.Join(dir, command)
		if err := os.WriteFile(path, contents[binDir+"/"+command], 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), command+" v1.2.3 (commit abc, built 2026-01-02T03:04:05Z") {
			t.Errorf("%s --version: %v: %s", command, err, out)
		}
		// Without a base image there is no loader.
		if bytes.Contains(contents[binDir+"/"+command], []byte("/ld-linux")) {
			t.Errorf("%s is linked dynamically", command)
		}
	}
}

func TestImagePush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/plexus:v1"
	_, i := made(t, fakeBuild)
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := i.push(t.Context(), tag, &out); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := got.Digest()
	if want := tag.Context().String() + "@" + digest.String() + "\n"; err != nil || out.String() != want {
		t.Errorf("it said %q, and the registry has %q (%v)", out.String(), want, err)
	}
}

func TestImageFaults(t *testing.T) {
	for _, args := range [][]string{
		{"--platforms", "windows/amd64"},
		{"--platforms", "linux"},
		{"--platforms", ""},
		{"extra"},
		{"--ref", "plexus"},
		{"--ref", "localhost/plexus"},
		{"--ref", "UPPER/x:y"},
		{"--date", "yesterday"},
	} {
		if err := run(t.Context(), append([]string{"--source", "/nowhere"}, args...), io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	fails := errors.New("no compiler")
	_, err = assemble(t.Context(), o, func(context.Context, v1.Platform, string) error { return fails })
	if !errors.Is(err, fails) {
		t.Errorf("a build that fails: %v", err)
	}
	if at, err := (stamp{date: "unknown"}).created(); err != nil || !at.Equal(time.Unix(0, 0)) {
		t.Errorf("no date: %v, %v", at, err)
	}
}
