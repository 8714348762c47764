// Command man writes the manual pages of kubectl-plexus into a folder. It is apart from it, so that
// what makes them is not linked there.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/internal/window"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// run writes the pages. The same build of the same commit gives the same pages.
func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes one argument, the folder")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	date, err := time.Parse(time.RFC3339, version.Date)
	if err != nil {
		date = time.Unix(0, 0).UTC()
	}
	root := window.New(genericiooptions.IOStreams{Out: io.Discard, ErrOut: io.Discard})
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Date: &date, Source: "Plexus " + version.Version, Manual: "kubectl plexus"}, args[0])
}
