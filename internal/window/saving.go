package window

import (
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
			return fmt.Errorf("--save: %w", err)
		}
		path = filepath.Join(path, filepath.Base(snapshot.Machine.Name())+".json")
	}
	return save(path, data)
}

// save writes a file for its owner alone, also one that was there: a snapshot has the addresses of
// the whole node.
func save(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	if info, statErr := file.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = file.Chmod(0o600)
	}
	if err == nil {
		_, err = file.Write(data)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	return nil
}
