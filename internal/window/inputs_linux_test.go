package window

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const plainPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\n"

// A pipe in a folder is no manifest, whatever its name: nobody may ever write into it.
func TestFoldersWithPipes(t *testing.T) {
	folder := t.TempDir()
	check.Must(t, os.WriteFile(filepath.Join(folder, "pod.yaml"), []byte(plainPod), 0o600))
	check.Must(t, syscall.Mkfifo(filepath.Join(folder, "pipe.yaml"), 0o600))
	check.Must(t, os.Mkdir(filepath.Join(folder, "folder.yaml"), 0o700))
	for name, args := range map[string][]string{"validate": {"validate", folder}, "explain": {"explain", "-f", folder}} {
		got := runWith(t, "", args...)
		check.Equal(t, name+": exit code", got.code, exitFine)
		check.Equal(t, name+": error", got.stderr, "")
	}
}

// A link that leads nowhere is named: what it was to lead to would go unseen.
func TestFoldersWithBrokenLinks(t *testing.T) {
	folder := t.TempDir()
	check.Must(t, os.Symlink("nowhere", filepath.Join(folder, "pod.yaml")))
	for name, args := range map[string][]string{"validate": {"validate", folder}, "explain": {"explain", "-f", folder}} {
		got := runWith(t, "", args...)
		check.Equal(t, name+": exit code", got.code, exitBlind)
		check.Contains(t, name+": error", got.stderr, "pod.yaml")
	}
}

// Where the program before it in a pipe has failed, nothing is well.
func TestValidateNothing(t *testing.T) {
	for name, input := range map[string]string{"nothing": "", "empty lines": "\n \n"} {
		got := runWith(t, input, "validate", "-")
		check.Equal(t, name+": exit code", got.code, exitBlind)
		check.Contains(t, name+": error", got.stderr, "standard input: is empty")
	}
}
