package window

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// inspection is one call of inspect: exactly one of pod, container and netns is set.
type inspection struct {
	node                  nodeFlags
	pod, container, netns string
	commands              bool
}

func newInspect(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	i := &inspection{}
	cmd := &cobra.Command{
		Use:   "inspect [pod] NAMESPACE/POD | --container ID | --netns PATH",
		Short: "Say what is wrong with the network of a pod, and show all of it",
		Long: `inspect answers: what is wrong with the network of this pod? It prints the findings first, each with
what was seen and what to do, then every interface with what it leads to on the node. docs/findings.md
has all findings.

Exit codes: 0 there is no error and no warning, 1 there is one, 2 wrong usage, 3 the node could not be read, or
the pod is not on it.

` + whichNode,
		Example: `  kubectl plexus inspect shop/web
  sudo kubectl-plexus inspect shop/web            # on the pod's node
  sudo kubectl-plexus inspect --netns /run/netns/blue
  sudo kubectl-plexus inspect --container 4f1d
  sudo kubectl-plexus inspect shop/web --commands   # what shows the same by hand
  kubectl-plexus inspect --from node1.json shop/web -o json`,
		Args: usageArgs(onePod),
	}
	i.node.add(cmd, cluster)
	i.node.addFrom(cmd)
	addSave(cmd, &i.node.save)
	i.node.addAfar(cmd)
	cmd.Flags().StringVar(&i.container, "container", "", "`ID` of the pod's sandbox, or its beginning")
	cmd.Flags().StringVar(&i.netns, "netns", "", "`path` of a network namespace, whether Plexus attached it or not")
	cmd.Flags().BoolVar(&i.commands, "commands", false, "print below each fact the command that shows it by hand")
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			i.pod = podName(afterPod(args)[0], *cluster.Namespace)
		}
		i.node.pod, i.node.here = i.pod, i.node.name == "" && i.pod == ""
		if err := errors.Join(i.check(), out.check(), i.checkCommands(out.format)); err != nil {
			return err
		}
		report, err := i.run(cmd)
		if err != nil {
			return err
		}
		text := i.node.withWay(func(w io.Writer) error { return report.WriteText(w, i.commands) })
		if err := out.write(cmd.OutOrStdout(), report, text); err != nil {
			return err
		}
		if inspect.Wrong(report.Findings) {
			return errShown
		}
		return nil
	}
	return cmd
}

// onePod refuses more than one argument.
func onePod(cmd *cobra.Command, args []string) error {
	if args = afterPod(args); len(args) > 1 {
		return fmt.Errorf("%s takes one pod, as NAMESPACE/POD, got %q", cmd.Name(), args)
	}
	return nil
}

// afterPod leaves out the word "pod" before a pod's name, which explain and kubectl take there.
func afterPod(args []string) []string {
	if len(args) == 2 && args[0] == "pod" {
		return args[1:]
	}
	return args
}

// podName gives NAMESPACE/POD of an argument that may be the pod's name alone.
func podName(argument, namespace string) string {
	if strings.Contains(argument, "/") {
		return argument
	}
	if namespace == "" {
		namespace = "default"
	}
	return namespace + "/" + argument
}

func (i *inspection) check() error {
	given := 0
	for _, choice := range []string{i.pod, i.container, i.netns} {
		if choice != "" {
			given++
		}
	}
	if given != 1 {
		return misuse(errors.New("name exactly one: NAMESPACE/POD, --container ID or --netns PATH"))
	}
	return nil
}

// checkCommands refuses commands in a document, which has no place for them.
func (i *inspection) checkCommands(format string) error {
	if i.commands && format != formatText {
		return misuse(errors.New("--commands goes with the output text alone"))
	}
	return nil
}

func (i *inspection) run(cmd *cobra.Command) (*inspect.Report, error) {
	snapshot, err := i.snapshot(cmd)
	if err != nil {
		return nil, err
	}
	inode, err := i.find(snapshot)
	if err != nil {
		return nil, i.explainNotFound(err)
	}
	return inspect.NewReport(snapshot, inode), nil
}

// explainNotFound says where was looked: the folder of the journal is not the same on every node.
func (i *inspection) explainNotFound(err error) error {
	switch {
	case i.netns != "" || !errors.Is(err, inspect.ErrNotFound):
		return err
	case i.node.from != "":
		return fmt.Errorf("%w (--from %s)", err, i.node.from)
	}
	return fmt.Errorf("%w (%s)", err, i.node.where())
}

func (i *inspection) snapshot(cmd *cobra.Command) (*inspect.Snapshot, error) {
	target := inspect.Target{Pod: i.pod, Container: i.container}
	request := inspect.Request{}
	if i.netns != "" {
		target.NetNS = i.path()
		request.NetNS = []string{target.NetNS}
	}
	request.Only = []inspect.Target{target}
	return i.node.read(cmd, request)
}

func (i *inspection) find(s *inspect.Snapshot) (uint64, error) {
	switch {
	case i.container != "":
		return s.FindContainer(i.container)
	case i.netns != "":
		return s.FindPath(i.path())
	}
	return s.FindPod(i.pod)
}

// path gives the path of --netns as the snapshot has it: one of this machine, unless it is a saved
// one, of another.
func (i *inspection) path() string {
	if i.node.from != "" {
		return i.netns
	}
	return absolute(i.netns)
}
