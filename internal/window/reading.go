package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/windowpod"
	"github.com/plexus-cni/plexus/types"
)

// whichNode is what the help of each command says that reads a node.
const whichNode = `The node is the first of these that fits: the saved snapshot of --from, where the command has that
flag; the node of the cluster that --node names; this machine, with a flag that is about it (--netns,
--container, --state-dir, --netns-dir), or for root if it has the folder of --state-dir; the node that
the cluster says the pod is on. A node of the cluster is read through a window pod, which is made there,
ends by itself, and is used again until then (docs/window.md). The text begins with what was read.
Nothing of a node is changed.`

// nodeFlags say which node a command reads, and how.
type nodeFlags struct {
	stateDir  string
	netnsDirs []string
	confDir   string
	from      string
	save      string // where to keep what was read
	afar
	// The command sets these before it opens a node.
	pod  string // that it is about, as NAMESPACE/POD
	here bool   // it is about something that has no name in a cluster
}

func (f *nodeFlags) add(cmd *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	f.attach(cmd, cluster)
	flags := cmd.Flags()
	flags.StringVar(&f.stateDir, "state-dir", types.DefaultCNIDir+"/plexus", "`folder` of the journal: plexus/ in the cniDir of the node's configuration")
	flags.StringSliceVar(&f.netnsDirs, "netns-dir", defaultNetNSDirs, "`folder` in which the runtime mounts network namespaces")
}

// attach says of which command the flags are, and how its cluster is reached.
func (f *nodeFlags) attach(cmd *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	f.cluster, f.cmd, f.connect = cluster, cmd, sync.OnceValues(f.newClients)
	f.keep, f.namespace = windowpod.DefaultKeep, windowpod.Namespace
}

// addPlanned adds the flags of a command that plans for a node, and that can do without one.
func (f *nodeFlags) addPlanned(cmd *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	f.attach(cmd, cluster)
	f.addFrom(cmd)
	f.addAfar(cmd)
	f.brief = true
	cmd.Flags().Lookup("from").Usage = "plan for the node of this saved snapshot `file`; - is the standard input"
	cmd.Flags().Lookup("node").Usage = "plan for the node of this `name`, which is read through a window pod"
}

// readPlanned reads the node that --node or --from names; nil if neither does.
func (f *nodeFlags) readPlanned(cmd *cobra.Command) (*inspect.Snapshot, error) {
	if f.name == "" && f.from == "" {
		return nil, f.check(cmd)
	}
	wait := startProgress(cmd)
	wait.say("reading the node")
	defer wait.stop()
	snapshot, err := f.read(cmd, inspect.Request{Brief: true, CNI: true, WithConfig: true})
	if err == nil && f.way == "" {
		f.way = "node " + snapshot.Machine.Name() + ", as the snapshot has it that was taken at " + snapshot.Machine.Taken.UTC().Format(time.RFC3339)
	}
	return snapshot, err
}

// addFrom adds the flag --from, for commands that can do with a saved snapshot.
func (f *nodeFlags) addFrom(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.from, "from", "", "read a saved snapshot from this `file` instead of the node; - is the standard input")
}

// addConfDir adds the flag --conf-dir, for commands that read the node's files.
func (f *nodeFlags) addConfDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.confDir, "conf-dir", runtimeConfDir, "`folder` of the runtime's CNI configurations")
}

// open gives the way to the node, as whichNode says. The caller closes it.
func (f *nodeFlags) open(cmd *cobra.Command) (inspect.Node, error) {
	node, err := f.choose(cmd)
	if err != nil {
		return nil, err
	}
	f.way = wayOf(node)
	_, f.away = node.(*windowpod.Node)
	return node, nil
}

func (f *nodeFlags) choose(cmd *cobra.Command) (inspect.Node, error) {
	if err := f.check(cmd); err != nil {
		return nil, err
	}
	switch {
	case f.from != "":
		snapshot, err := load(cmd, f.from)
		if err != nil {
			return nil, err
		}
		return savedNode{snapshot}, nil
	case f.name != "":
		return f.openNode(cmd.Context(), f.name)
	case f.isHere(cmd):
		return f.openLocal()
	}
	return f.openPodsNode(cmd.Context())
}

// errWhich is the error for a command that says no node, on a machine that is none of Plexus.
var errWhich = errors.New("this machine is no node of Plexus: name a node of the cluster with --node, or a pod; --state-dir says that it is this machine")

// openPodsNode opens the node of the pod, if there is a cluster; else this machine may be a node that has
// attached nothing yet.
func (f *nodeFlags) openPodsNode(ctx context.Context) (inspect.Node, error) {
	known, err := f.hasCluster()
	switch {
	case err != nil:
		return nil, err
	case !known:
		return f.openLocal()
	case f.pod == "":
		return nil, errWhich
	}
	name, err := f.nodeOf(ctx, f.pod)
	if err != nil {
		return nil, err
	}
	return f.openNode(ctx, name)
}

// check refuses flags that say two things at once.
func (f *nodeFlags) check(cmd *cobra.Command) error {
	if err := windowpod.CheckKeep(f.keep); err != nil {
		return misuse(fmt.Errorf("--keep: %w", err))
	}
	if given := cmd.Flags().Lookup("from"); given != nil && given.Changed && f.from == "" {
		return misuse(errors.New("--from names no file: give one, or - for the standard input"))
	}
	if f.name == "" {
		return nil
	}
	for _, other := range []string{"from", "state-dir", "netns-dir"} {
		if cmd.Flags().Changed(other) {
			return misuse(fmt.Errorf("--node is a node of the cluster, and --%s says something else", other))
		}
	}
	return nil
}

// isHere reports whether this machine is meant, without a flag that says it.
func (f *nodeFlags) isHere(cmd *cobra.Command) bool {
	if f.here || cmd.Flags().Changed("state-dir") || cmd.Flags().Changed("netns-dir") {
		return true
	}
	_, err := os.Stat(f.stateDir)
	return os.Geteuid() == 0 && err == nil
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

// wayOf says how a node is read; a saved one has been named by whoever reads it.
func wayOf(node inspect.Node) string {
	if described, can := node.(interface{ Way() string }); can {
		return described.Way()
	}
	return ""
}

// where says in which journal was looked: its folder is not the same on every node.
func (f *nodeFlags) where() string {
	if f.away {
		return f.way
	}
	return "--state-dir " + f.stateDir
}

// withWay writes which node was read, and how, before a text.
func (f *nodeFlags) withWay(text func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		if f.way != "" {
			_, _ = fmt.Fprintf(w, "%s\n\n", f.way)
		}
		return text(w)
	}
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

// loadEach reads saved snapshots, one a node.
func loadEach(cmd *cobra.Command, files []string) (snapshots []*inspect.Snapshot, err error) {
	known := map[string]string{}
	for _, file := range files {
		snapshot, err := load(cmd, file)
		if err != nil {
			return nil, err
		}
		name := snapshot.Machine.Name()
		if twice := known[name]; twice != "" {
			return nil, misuse(fmt.Errorf("--from: %s and %s are both of %s: give one snapshot of each node", twice, file, name))
		}
		known[name] = file
		snapshots = append(snapshots, snapshot)
	}
	return snapshots, nil
}

// absolute gives the path as the snapshot has it.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
