package window

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// onTheNode is what the help of each command says that reads the node.
const onTheNode = `It runs on the node, as root, and reads the node that it runs on; no cluster and
no container runtime is asked. It changes nothing.`

// nodeFlags say where a command reads a node.
type nodeFlags struct {
	stateDir  string
	netnsDirs []string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.stateDir, "state-dir", types.DefaultCNIDir+"/plexus", "`folder` of the journal: plexus/ in the cniDir of the node's configuration")
	flags.StringSliceVar(&f.netnsDirs, "netns-dir", defaultNetNSDirs, "`folder` in which the runtime mounts network namespaces")
}

// load reads a saved snapshot; "-" is standard input.
func load(cmd *cobra.Command, path string) (*inspect.Snapshot, error) {
	data, err := os.ReadFile(path)
	if path == "-" {
		data, err = io.ReadAll(cmd.InOrStdin())
	}
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	snapshot, err := inspect.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("--from %s: %w", path, err)
	}
	return snapshot, nil
}

// save writes a file for root alone: a snapshot has the addresses of the whole node.
func save(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	return nil
}

// absolute gives the path as the snapshot has it.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
