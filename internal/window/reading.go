package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// onTheNode is what the help of each command says that reads the node.
const onTheNode = `It runs on the node, as root, and reads the node that it runs on; no cluster and
no container runtime is asked. It changes nothing.`

// nodeFlags say which node a command reads, and how.
type nodeFlags struct {
	cluster   *genericclioptions.ConfigFlags
	stateDir  string
	netnsDirs []string
	confDir   string
	from      string
	save      string // where to keep what was read
	name      string // of the node that is read through a window pod
}

func (f *nodeFlags) add(cmd *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	f.cluster = cluster
	flags := cmd.Flags()
	flags.StringVar(&f.stateDir, "state-dir", types.DefaultCNIDir+"/plexus", "`folder` of the journal: plexus/ in the cniDir of the node's configuration")
	flags.StringSliceVar(&f.netnsDirs, "netns-dir", defaultNetNSDirs, "`folder` in which the runtime mounts network namespaces")
}

// addFrom adds the flag --from, for commands that can do with a saved snapshot.
func (f *nodeFlags) addFrom(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.from, "from", "", "read a saved snapshot from this `file` instead of the node; - is the standard input")
}

// addConfDir adds the flag --conf-dir, for commands that read the node's files.
func (f *nodeFlags) addConfDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.confDir, "conf-dir", runtimeConfDir, "`folder` of the runtime's CNI configurations")
}

// open gives the way to the node: a saved snapshot, or this machine. The caller closes it.
func (f *nodeFlags) open(cmd *cobra.Command) (inspect.Node, error) {
	if given := cmd.Flags().Lookup("from"); given != nil && given.Changed && f.from == "" {
		return nil, misuse(errors.New("--from names no file: give one, or - for the standard input"))
	}
	if f.from != "" {
		snapshot, err := load(cmd, f.from)
		if err != nil {
			return nil, err
		}
		return savedNode{snapshot}, nil
	}
	return f.openLocal()
}

// read opens the node, reads a snapshot of it, and lets go of it.
func (f *nodeFlags) read(cmd *cobra.Command, request inspect.Request) (*inspect.Snapshot, error) {
	node, err := f.open(cmd)
	if err != nil {
		return nil, err
	}
	snapshot, err := f.ask(cmd.Context(), node, request)
	return snapshot, errors.Join(err, node.Close())
}

// ask reads an open node, and keeps what it read where --save says.
func (f *nodeFlags) ask(ctx context.Context, node inspect.Node, request inspect.Request) (*inspect.Snapshot, error) {
	request.Brief = request.Brief && f.save == "" // what is saved is for every command
	snapshot, err := node.Snapshot(ctx, request)
	if err == nil && f.save != "" {
		err = saveSnapshot(f.save, snapshot)
	}
	return snapshot, err
}

// savedNode is a node of which only a Snapshot is left.
type savedNode struct{ snapshot *inspect.Snapshot }

func (s savedNode) Snapshot(context.Context, inspect.Request) (*inspect.Snapshot, error) {
	return s.snapshot, nil
}

// Answers gives those that were saved.
func (s savedNode) Answers(_ context.Context, questions []inspect.Question) ([]inspect.Answer, error) {
	answers := make([]inspect.Answer, len(questions))
	for i, question := range questions {
		answer, found := s.snapshot.AnswerTo(question)
		if !found {
			answer = inspect.Answer{Question: question, Unread: "the saved snapshot has no answer to this question"}
		}
		answers[i] = answer
	}
	return answers, nil
}

func (savedNode) Close() error { return nil }

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

// absolute gives the path as the snapshot has it.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
