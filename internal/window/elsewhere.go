package window

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/types"
)

// elsewhere is a node that nobody can ask: its plugins are taken for there, and its files are not known.
type elsewhere struct {
	binDir string
	why    error // the files are not known
}

var _ plan.Node = (*elsewhere)(nil)

// errNotNode says why the files of a node are not known.
var errNotNode = errors.New("this machine is not a node of Plexus: run explain on the node, or name it with --node, or a saved snapshot with --from")

func (e *elsewhere) Stat(file string) (fs.FileInfo, error)        { return nil, e.unknown(file) }
func (e *elsewhere) ReadDir(folder string) ([]fs.DirEntry, error) { return nil, e.unknown(folder) }
func (e *elsewhere) ReadFile(file string) ([]byte, error)         { return nil, e.unknown(file) }
func (e *elsewhere) unknown(file string) error                    { return &unknownFileError{file, e.why} }

// CheckPlugin refuses plexus itself alone.
func (e *elsewhere) CheckPlugin(name string) error {
	if name != "plexus" {
		return nil
	}
	return plan.Executable{Path: path.Join(e.binDir, name), Self: true}.Check(name)
}

// unknownFileError is the error for a file of the node that is not known here.
type unknownFileError struct {
	file string
	why  error
}

func (e *unknownFileError) Error() string {
	return fmt.Sprintf("what the node has at %s is not known: %v", e.file, e.why)
}

func (e *unknownFileError) Unwrap() error { return e.why }

// withoutRepeats says once why a pod cannot be planned, however many of its networks are files of the node.
func withoutRepeats(pod types.Ref, err error) error {
	unknown := unknownFiles(err)
	files := make([]string, len(unknown))
	for i := range unknown {
		files[i] = unknown[i].file
	}
	slices.Sort(files)
	return fmt.Errorf("pod %s: %w", pod, &unknownFileError{strings.Join(slices.Compact(files), ", "), unknown[0].why})
}

// unknownFiles finds the errors for such files in the tree of an error.
func unknownFiles(err error) []*unknownFileError {
	switch e := err.(type) { //nolint:errorlint // every error of the tree is visited
	case *unknownFileError:
		return []*unknownFileError{e}
	case interface{ Unwrap() []error }:
		var all []*unknownFileError
		for _, inner := range e.Unwrap() {
			all = append(all, unknownFiles(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		return unknownFiles(e.Unwrap())
	}
	return nil
}
