package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// testTimeout bounds a test that a mutation lets hang.
	testTimeout = "60s"
	// allTimeout bounds all the tests of a package that the list names, without a mutation.
	allTimeout = "20m"
)

// trial builds and runs tests, with and without mutations.
type trial struct {
	root string // of the module
	work string // a folder for what is built
	out  io.Writer
}

// withoutMutation runs all the tests of the list as they are: one that fails anyway says
// nothing about a mutation.
func (t *trial) withoutMutation(list []promise) error {
	tests := map[string][]string{}
	for _, p := range list {
		tests[p.pkg] = append(tests[p.pkg], p.test)
	}
	for pkg, names := range tests {
		slices.Sort(names)
		b, err := t.build(pkg, nil)
		if err != nil {
			return err
		}
		if output, err := b.run(strings.Join(slices.Compact(names), "|"), allTimeout); err != nil {
			return fmt.Errorf("tests of %s fail without a mutation: %w\n%s", pkg, err, output)
		}
	}
	return nil
}

// one applies a promise's mutation. It is an error if the tests pass all the same.
func (t *trial) one(p *promise) error {
	code, err := p.mutated(t.root)
	if err != nil {
		return err
	}
	b, err := t.build(p.pkg, map[string][]byte{p.file: code})
	if err != nil {
		return fmt.Errorf("the mutation does not build: %w", err)
	}
	output, err := b.run(p.test, testTimeout)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the tests pass:\n%s", output)
}

// built is a package's tests, and the environment that they are to run in.
type built struct {
	binary, dir string
	environ     []string
}

// build builds the tests of a package, and the commands for tests that call them, with
// files replaced.
func (t *trial) build(pkg string, replaced map[string][]byte) (*built, error) {
	overlay, err := t.overlay(replaced)
	if err != nil {
		return nil, err
	}
	b := &built{
		binary: filepath.Join(t.work, "package.test"), dir: filepath.Join(t.root, pkg),
		// GOFLAGS, for tests that build commands themselves.
		environ: append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay)),
	}
	if err := t.goTool(b.environ, "test", "-c", "-o", b.binary, pkg); err != nil {
		return nil, err
	}
	if !callsCommands(pkg) {
		return b, nil
	}
	bin := filepath.Join(t.work, "bin") + "/"
	b.environ = append(b.environ, "PLEXUS_BIN="+bin, "CGO_ENABLED=0")
	commands := []string{"./cmd/plexus", "./cmd/plexus-once"}
	switch pkg {
	case "./cmd/plexus-agent":
		commands = []string{pkg} // its tests call no other
	case windowPackage:
		commands = append(commands, "./cmd/kubectl-plexus")
	}
	return b, t.goTool(b.environ, slices.Concat([]string{"build", "-o", bin}, commands)...)
}

// windowPackage is the package of the commands of kubectl-plexus.
const windowPackage = "./internal/window"

// callsCommands reports whether the tests of a package call the commands of PLEXUS_BIN.
func callsCommands(pkg string) bool {
	return strings.HasPrefix(pkg, "./cmd/") || strings.HasPrefix(pkg, "./internal/test/") || pkg == windowPackage
}

// overlay writes what go build -overlay reads, and gives its path.
func (t *trial) overlay(replaced map[string][]byte) (string, error) {
	content := struct{ Replace map[string]string }{map[string]string{}}
	for file, code := range replaced {
		path := filepath.Join(t.work, filepath.Base(file))
		if err := os.WriteFile(path, code, 0o600); err != nil {
			return "", err
		}
		content.Replace[filepath.Join(t.root, file)] = path
	}
	data, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	path := filepath.Join(t.work, "overlay.json")
	return path, os.WriteFile(path, data, 0o600)
}

func (t *trial) goTool(environ []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = t.root, environ
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

// run runs some of the tests, within a time, and gives what they print.
func (b *built) run(tests, timeout string) ([]byte, error) {
	cmd := exec.Command(b.binary, "-test.run", "^("+tests+")$", "-test.timeout", timeout, "-test.failfast")
	cmd.Dir, cmd.Env = b.dir, b.environ
	return cmd.CombinedOutput()
}
