package window

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// addSave adds the flag --save of a command that reads a node.
func addSave(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "save", "", "write the snapshot of the node into this `file`, readable for its owner alone, or into a folder, as NODE.json; --from reads it")
}

// saveSnapshot writes a Snapshot into a file, or into a folder under the name of its node.
func saveSnapshot(path string, snapshot *inspect.Snapshot) error {
	data, err := snapshot.Bytes()
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return saving(err)
		}
		path = filepath.Join(path, filepath.Base(snapshot.Machine.Name())+".json")
	}
	return save(path, data)
}

// save writes a file for its owner alone, also in place of one that was there: a snapshot has the
// addresses of the whole node. Whoever opens it finds all of the old one or all of the new one.
func save(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // as /dev/stdout, or a pipe
		return saving(os.WriteFile(path, data, 0o600))
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return saving(err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // it is not what was asked for
	}
	return saving(err)
}

func saving(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--save: %w", err)
}
