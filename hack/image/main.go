// Command image makes the container image of Plexus: the commands that a node needs, and
// nothing else, without a base image. The same commit gives the same digest.
//
// It writes the image for all platforms as a tar of an OCI layout, which containerd imports (ctr
// images import), and with --docker one tar for each platform, which docker load takes. With
// --push it sends it to a registry, with the credentials of docker login.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	source    string
	platforms platforms
	ref       string
	output    string
	docker    bool
	push      bool
	stamp     stamp

	kustomization string // folder for a kustomization of this image, made of deploy
	deploy        string
	release       string // folder for the files of a release
	clients       platforms
	downloads     string // where the files of the release will be
}

// stamp says which build it is, to the commands and in the image's labels.
type stamp struct{ version, commit, date string }

// created is the date of the commit, so that a later build of it is the same image.
func (s stamp) created() (time.Time, error) {
	if s.date == "" || s.date == "unknown" {
		return time.Unix(0, 0).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, s.date)
	if err != nil {
		return time.Time{}, fmt.Errorf("--date: %w", err)
	}
	return at.UTC(), nil
}

// platforms is a flag: os/arch with commas between.
type platforms []v1.Platform

func (p *platforms) String() string {
	var texts []string
	for _, platform := range *p {
		texts = append(texts, platform.String())
	}
	return strings.Join(texts, ",")
}

func (p *platforms) Set(text string) error {
	*p = nil
	for _, part := range strings.Split(text, ",") {
		platform, err := v1.ParsePlatform(part)
		if err != nil || platform.OS != "linux" || platform.Architecture == "" || platform.Variant != "" {
			return fmt.Errorf("%q is not linux/ and an architecture", part)
		}
		*p = append(*p, *platform)
	}
	return nil
}

// setAny reads platforms of any system.
func (p *platforms) setAny(text string) error {
	*p = nil
	for _, part := range strings.Split(text, ",") {
		platform, err := v1.ParsePlatform(part)
		if err != nil || platform.OS == "" || platform.Architecture == "" || platform.Variant != "" {
			return fmt.Errorf("%q is not a system and an architecture", part)
		}
		*p = append(*p, *platform)
	}
	return nil
}

// everywhere is where kubectl runs.
const everywhere = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

func parse(args []string, out io.Writer) (*options, error) {
	o := &options{platforms: platforms{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}}
	if err := o.clients.setAny(everywhere); err != nil {
		return nil, err
	}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.source, "source", "../..", "`folder` of the checkout")
	flags.Var(&o.platforms, "platforms", "what to build for")
	flags.StringVar(&o.ref, "ref", "localhost/plexus:v0.0.0-dev", "`name` of the image, with its tag")
	flags.StringVar(&o.output, "output", "plexus-image.tar", "`file` for the OCI layout of all platforms")
	flags.BoolVar(&o.docker, "docker", false, "also write a tar for docker load for each platform, beside the output")
	flags.BoolVar(&o.push, "push", false, "send the image to the registry that --ref names")
	flags.StringVar(&o.kustomization, "kustomization", "", "`folder` for a kustomization that deploys this image")
	flags.StringVar(&o.deploy, "deploy", "../../deploy", "`folder` of the kustomization that it builds on")
	flags.StringVar(&o.release, "release", "", "`folder` for what a release has besides: archives of the commands, chart, manifests, SBOMs, checksums")
	flags.Func("clients", "what kubectl-plexus of a release is built for (default all that krew has)", o.clients.setAny)
	flags.StringVar(&o.downloads, "downloads", "https://localhost/plexus", "`URL` below which the files of the release will be, for krew")
	flags.StringVar(&o.stamp.version, "version", "v0.0.0-dev", "the version")
	flags.StringVar(&o.stamp.commit, "commit", "unknown", "the commit")
	flags.StringVar(&o.stamp.date, "date", "unknown", "the commit's date, in RFC 3339")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(o.ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("--ref: %w", err)
	}
	image, err := assemble(ctx, o, goBuild(o.source, o.stamp, commands...))
	if err != nil {
		return err
	}
	return image.deliver(ctx, o, tag, out)
}

// deliver writes what the flags ask for. A kustomization by digest comes after the push.
func (i *image) deliver(ctx context.Context, o *options, tag name.Tag, out io.Writer) error {
	if err := i.write(o, tag, out); err != nil {
		return err
	}
	if o.push {
		if err := i.push(ctx, tag, out); err != nil {
			return err
		}
	}
	if o.kustomization != "" {
		if err := i.writeKustomization(o, tag, out); err != nil {
			return fmt.Errorf("write the kustomization: %w", err)
		}
	}
	if o.release != "" {
		if err := i.release(ctx, o, tag, out); err != nil {
			return fmt.Errorf("make the release: %w", err)
		}
	}
	return nil
}
