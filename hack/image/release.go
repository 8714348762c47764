package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// devImage and devVersion are what the manifests and the chart of a checkout name.
const (
	devRepository = "localhost/plexus"
	devVersion    = "0.0.0-dev"
)

// entry is a file of an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// release writes what belongs to a release besides the image: archives of the commands with
// their SBOMs, the chart, the manifests, kubectl-plexus, and the checksums of all of it.
func (i *image) release(ctx context.Context, o *options, tag name.Tag, out io.Writer) error {
	if err := os.MkdirAll(o.release, 0o755); err != nil {
		return err
	}
	created, err := o.stamp.created()
	if err != nil {
		return err
	}
	faults := []error{i.releaseCommands(o, created), releaseChart(o, tag, created), releaseManifests(o, tag, created), releaseClients(ctx, o, created)}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return writeChecksums(o.release, out)
}

func (i *image) releaseCommands(o *options, created time.Time) error {
	for n, platform := range i.platforms {
		base := "plexus-" + o.stamp.version + "-" + strings.ReplaceAll(platform.String(), "/", "-")
		all, err := commandsOf(i.images[n])
		if err != nil {
			return fmt.Errorf("read the commands for %s: %w", platform, err)
		}
		if err := writeSBOM(filepath.Join(o.release, base+".cdx.json"), all, o.stamp, created); err != nil {
			return fmt.Errorf("write the SBOM for %s: %w", platform, err)
		}
		for n := range all {
			all[n].name = base + "/" + all[n].name
		}
		if err := writeArchive(filepath.Join(o.release, base+".tar.gz"), all, created); err != nil {
			return err
		}
	}
	return nil
}

// commandsOf gives the commands that an image has.
func commandsOf(one v1.Image) (all []entry, err error) {
	layers, err := one.Layers()
	if err != nil {
		return nil, err
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	for in := tar.NewReader(content); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		all = append(all, entry{filepath.Base(header.Name), 0o755, data})
	}
}

// writeSBOM lists the modules that are linked into the commands, as the linker recorded them.
func writeSBOM(path string, all []entry, s stamp, created time.Time) error {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: created.Format(time.RFC3339),
		Component: &cdx.Component{Type: cdx.ComponentTypeApplication, Name: "plexus", Version: s.version},
	}
	modules, seen := []cdx.Component{}, map[string]bool{}
	for _, one := range all {
		info, err := buildinfo.Read(bytes.NewReader(one.content))
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		for _, c := range modulesOf(info) {
			if !seen[c.BOMRef] {
				seen[c.BOMRef], modules = true, append(modules, c)
			}
		}
	}
	bom.Components = &modules
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// modulesOf gives the modules of a command, with the standard library first.
func modulesOf(info *buildinfo.BuildInfo) []cdx.Component {
	module := func(path, version string) cdx.Component {
		purl := "pkg:golang/" + path + "@" + version
		return cdx.Component{Type: cdx.ComponentTypeLibrary, BOMRef: purl, Name: path, Version: version, PackageURL: purl}
	}
	all := []cdx.Component{module("std", info.GoVersion)}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, module(m.Path, m.Version))
	}
	return all
}

// releaseChart packs the chart with the version and the image of the release. helm package would
// put the time of the day into it.
func releaseChart(o *options, tag name.Tag, created time.Time) error {
	version := strings.TrimPrefix(o.stamp.version, "v")
	all, err := readTree(filepath.Join(o.source, "deploy", "chart", "plexus"), "plexus", "")
	if err != nil {
		return err
	}
	for n := range all {
		switch all[n].name {
		case "plexus/Chart.yaml":
			err = errors.Join(
				all[n].replace("\nversion: "+devVersion+"\n", "\nversion: "+version+"\n"),
				all[n].replace("\nappVersion: v"+devVersion+"\n", "\nappVersion: "+tag.TagStr()+"\n"))
		case "plexus/values.yaml":
			err = all[n].replace("repository: "+devRepository+"\n", "repository: "+tag.Context().String()+"\n")
		}
		if err != nil {
			return err
		}
	}
	return writeArchive(filepath.Join(o.release, "plexus-"+version+".tgz"), all, created)
}

// releaseManifests packs deploy/ without the chart, with the image of the release.
func releaseManifests(o *options, tag name.Tag, created time.Time) error {
	base := "plexus-" + o.stamp.version + "-deploy"
	all, err := readTree(filepath.Join(o.source, "deploy"), base, "chart")
	if err != nil {
		return err
	}
	for n := range all {
		all[n].content = bytes.ReplaceAll(all[n].content, []byte(devRepository+":v"+devVersion), []byte(tag.String()))
	}
	return writeArchive(filepath.Join(o.release, base+".tar.gz"), all, created)
}

// replace puts a text in place of another, which must be there once.
func (e *entry) replace(old, by string) error {
	if n := bytes.Count(e.content, []byte(old)); n != 1 {
		return fmt.Errorf("%s has %q %d times, and must have it once", e.name, old, n)
	}
	e.content = bytes.Replace(e.content, []byte(old), []byte(by), 1)
	return nil
}

// readTree reads the files of a folder, in the order of their names, without one folder.
func readTree(dir, as, without string) (all []entry, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path == without {
			return fs.SkipDir
		}
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		all = append(all, entry{as + "/" + path, 0o644, content})
		return err
	})
	return all, err
}

// writeArchive writes a tar.gz that depends on its content and the date of the commit alone.
func writeArchive(path string, all []entry, created time.Time) error {
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	for _, one := range all {
		h := header(tar.TypeReg, one.name, int64(len(one.content)), created)
		h.Mode = one.mode
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(one.content); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, archive.Bytes(), 0o644)
}

// checksums is the file that sha256sum --check reads.
const checksums = "SHA256SUMS"

func writeChecksums(dir string, out io.Writer) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, file := range files {
		if file.Name() == checksums {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), file.Name())
	}
	fmt.Fprint(out, text.String())
	return os.WriteFile(filepath.Join(dir, checksums), []byte(text.String()), 0o644)
}
