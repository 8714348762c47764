package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

// copySource copies what a build reads into another folder.
func copySource(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"LICENSE", "go.mod", "go.sum", "cmd", "delegate", "deploy", "internal", "k8sclient", "sriov", "types"} {
		err := filepath.WalkDir(filepath.Join("..", "..", part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() { // a link is copied as what it names
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			target := filepath.Join(to, strings.TrimPrefix(path, "../../"))
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				return err
			}
			return os.WriteFile(target, content, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// released makes a release from a folder, and gives its files.
func released(t *testing.T, source string, more ...string) map[string][]byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "release")
	args := append([]string{
		"--source", source, "--platforms", "linux/" + runtime.GOARCH, "--output", dir + "/plexus-image.tar", "--release", dir,
		"--clients", "linux/" + runtime.GOARCH, "--version", testStamp.version, "--commit", testStamp.commit, "--date", testStamp.date,
	}, more...)
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name.Name()], err = os.ReadFile(filepath.Join(dir, name.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// unpacked gives the files of a tar.gz.
func unpacked(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	_, contents := entries(t, z)
	return contents
}

// TestReleaseTwice makes a release in two folders: every byte is the same.
func TestReleaseTwice(t *testing.T) {
	ref := []string{"--ref", "images.example/team/plexus:v1.2.3"}
	first, second := released(t, "../..", ref...), released(t, copySource(t), ref...)
	base := "plexus-v1.2.3-linux-" + runtime.GOARCH
	clientFile := "kubectl-plexus-v1.2.3-linux-" + runtime.GOARCH + ".tar.gz"
	want := []string{checksums, "plexus-1.2.3.tgz", "plexus-image.tar", "plexus-v1.2.3-deploy.tar.gz", "plexus.yaml", clientFile, base + ".cdx.json", base + ".tar.gz"}
	checkClient(t, first[clientFile], string(first["plexus.yaml"]))
	var got []string
	for name, content := range first {
		got = append(got, name)
		if !bytes.Equal(content, second[name]) {
			t.Errorf("%s differs", name)
		}
		if name != checksums && !bytes.Contains(first[checksums], []byte("  "+name+"\n")) {
			t.Errorf("%s has no checksum", name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	checkDeployed(t, first)
	checkCommands(t, unpacked(t, first[base+".tar.gz"]), base, first[base+".cdx.json"])
}

// checkClient checks what is in the archive of the client, and that krew's manifest has its checksum.
func checkClient(t *testing.T, archive []byte, manifest string) {
	t.Helper()
	files := unpacked(t, archive)
	for _, name := range []string{"kubectl-plexus", "kubectl_complete-plexus", "LICENSE", "man/kubectl-plexus.1", "man/kubectl-plexus-inspect.1"} {
		if len(files[name]) == 0 {
			t.Errorf("there is no %s in the archive of the client", name)
		}
	}
	if sum := fmt.Sprintf("sha256: %x\n", sha256.Sum256(archive)); !strings.Contains(manifest, sum) {
		t.Errorf("krew's manifest has no %s:\n%s", sum, manifest)
	}
}

// checkDeployed checks that the manifests and the chart name the image of the release.
func checkDeployed(t *testing.T, files map[string][]byte) {
	t.Helper()
	set := string(unpacked(t, files["plexus-v1.2.3-deploy.tar.gz"])["plexus-v1.2.3-deploy/base/daemonset.yaml"])
	if n := strings.Count(set, "image: images.example/team/plexus:v1.2.3\n"); n != 3 || strings.Contains(set, "localhost/") {
		t.Errorf("the DaemonSet names the image of the release %d times:\n%s", n, set)
	}
	helm := unpacked(t, files["plexus-1.2.3.tgz"])
	for _, has := range []struct{ file, text string }{
		{"plexus/Chart.yaml", "\nversion: 1.2.3\nappVersion: v1.2.3\n"},
		{"plexus/values.yaml", "repository: images.example/team/plexus\n"},
	} {
		if !strings.Contains(string(helm[has.file]), has.text) {
			t.Errorf("%s does not have %q:\n%s", has.file, has.text, helm[has.file])
		}
	}
}

func checkCommands(t *testing.T, archive map[string][]byte, base string, sbom []byte) {
	t.Helper()
	for _, command := range commands {
		if len(archive[base+"/"+command]) == 0 {
			t.Errorf("there is no %s in %s", command, base)
		}
	}
	var bom struct {
		Components []struct{ PURL string }
	}
	if err := json.Unmarshal(sbom, &bom); err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"pkg:golang/std@" + runtime.Version(), "pkg:golang/github.com/containernetworking/cni@v1.3.0"} {
		if !slices.ContainsFunc(bom.Components, func(c struct{ PURL string }) bool { return c.PURL == module }) {
			t.Errorf("the SBOM does not list %s: %s", module, sbom)
		}
	}
}

// A chart that does not have what a release changes is refused, not released as it is.
func TestReleaseOfAnotherChart(t *testing.T) {
	e := entry{name: "Chart.yaml", content: []byte("version: 1\n")}
	for _, old := range []string{"version: 2\n", "version"} {
		if err := e.replace(old, "x"); (err == nil) != (old == "version") {
			t.Errorf("%q: %v", old, err)
		}
	}
}

func mustTag(t *testing.T, ref string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// The kustomization names what was built: the tag, and after a push the digest.
func TestKustomization(t *testing.T) {
	for _, c := range []struct {
		ref, want string
		push      bool
	}{
		{ref: "localhost/plexus:v0.0.0-dev.gabc", want: "newName: localhost/plexus\n    newTag: \"v0.0.0-dev.gabc\"\n"},
		{ref: "images.example/plexus:1.0", want: "newName: images.example/plexus\n    newTag: \"1.0\"\n"},
		{ref: "images.example/plexus:1.0", want: "newName: images.example/plexus\n    digest: sha256:", push: true},
	} {
		_, i := made(t, fakeBuild)
		dir := t.TempDir()
		o := &options{kustomization: filepath.Join(dir, "out", "deploy"), deploy: filepath.Join(dir, "deploy"), ref: c.ref, push: c.push}
		if err := i.writeKustomization(o, mustTag(t, c.ref), io.Discard); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(o.kustomization, "kustomization.yaml"))
		if err != nil || !strings.Contains(string(got), c.want) || !strings.Contains(string(got), "  - ../../deploy\n") {
			t.Errorf("%s: %v\n%s", c.ref, err, got)
		}
	}
}

// The manifest has each system, with the name that the executable has there.
func TestKrewManifest(t *testing.T) {
	o, err := parse([]string{"--version", "v1.2.3", "--downloads", "https://files.example/v1.2.3/"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var archives []archive
	for _, platform := range o.clients {
		archives = append(archives, archive{platform.OS, platform.Architecture, platform.OS + ".tar.gz", strings.Repeat("0", 64)})
	}
	manifest, err := krewManifest(o, archives)
	if err != nil {
		t.Fatal(err)
	}
	for part, times := range map[string]int{
		"selector:": 6, "os: darwin\n": 2, "os: windows\n": 2, "arch: arm64\n": 3, "bin: kubectl-plexus.exe\n": 2, "bin: kubectl-plexus\n": 4,
		"uri: https://files.example/v1.2.3/windows.tar.gz\n": 2, "version: v1.2.3\n": 1,
	} {
		if n := strings.Count(string(manifest), part); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", part, n, times, manifest)
		}
	}
	if _, err := parse([]string{"--clients", "linux"}, io.Discard); err == nil {
		t.Error("a system without an architecture is taken")
	}
}
