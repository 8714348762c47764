package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// commands are what is in the image.
var commands = []string{"plexus", "plexus-agent", "plexus-once", "plexus-sriov", "plexus-vhostuser", "kubectl-plexus"}

// builder builds the commands for a platform into a folder.
type builder func(ctx context.Context, platform v1.Platform, dir string) error

// ldflags are those of make build.
func (s stamp) ldflags() string {
	const variables = "-X github.com/plexus-cni/plexus/internal/version."
	return "-s -w " + variables + "Version=" + s.version + " " + variables + "Commit=" + s.commit + " " + variables + "Date=" + s.date + " " + variables + "Stamp=plexus-cni.io/version=" + s.version + ";"
}

// goBuild builds as make build does, so that what is cached of it is used.
func goBuild(source string, s stamp, commands ...string) builder {
	return func(ctx context.Context, platform v1.Platform, dir string) error {
		args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", s.ldflags(), "-o", dir + string(filepath.Separator)}
		for _, command := range commands {
			args = append(args, "./cmd/"+command)
		}
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture)
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build for %s: %w\n%s", platform, err, output.Bytes())
		}
		return nil
	}
}
