package window

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/validate"
	"github.com/plexus-cni/plexus/types"
)

const stdinName = "<stdin>"

// validateOptions are the flags of validate.
type validateOptions struct {
	output  *output
	cluster *genericclioptions.ConfigFlags
	config  string
	explain string
	live    bool // --cluster
	all     bool
	where   nodeFlags
}

func newValidate(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &validateOptions{cluster: cluster}
	cmd := &cobra.Command{
		Use:   "validate FILE... | FOLDER... | - | --cluster",
		Short: "Say what is wrong with networks and pods, in files or in the cluster",
		Long: `validate answers: would these pods get their networks?

It reads NetworkAttachmentDefinitions, pods, and the templates of Deployments, Jobs and the like, from YAML and
JSON files, from the .yaml, .yml and .json files of folders and of the folders below them, and from the standard
input (-), such as what Helm prints. It examines all of them together, and asks no cluster. With --cluster it reads the networks and pods of the cluster instead, and writes nothing. Each finding has its file, line and column, also inside spec.config.
Objects that name no namespace are in that of --namespace, else in "default".

With --node the pods are for that node of the cluster, which is read through a window pod (docs/window.md), with
--from for that of a saved snapshot: its plugins, its interfaces and its configuration of Plexus count.

Exit codes: 0 nothing is wrong (there may be notes), 1 there are errors or warnings, 2 wrong usage, 3 a file
cannot be read.`,
		Example: `  kubectl plexus validate networks.yaml pods.yaml
  helm template ./chart | kubectl plexus validate -
  kubectl plexus validate --config /etc/cni/net.d/00-plexus.conflist manifests/
  kubectl plexus validate --cluster -A
  # for the plugins, the interfaces and the configuration of a node
  kubectl plexus validate --node node1 manifests/
  kubectl plexus validate -o sarif . > plexus.sarif
  kubectl plexus validate --explain range-overlap`,
		RunE: o.run,
	}
	o.output = addOutput(cmd, "sarif", "github")
	cmd.Flags().StringVar(&o.config, "config", "", "`file` with the configuration of Plexus on the nodes: its isolation, allowedPlugins and default networks count")
	cmd.Flags().BoolVar(&o.live, "cluster", false, "examine the networks and pods of the cluster, in the namespace of -n or of the kubeconfig")
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "with --cluster: of every namespace")
	o.where.addPlanned(cmd, cluster)
	cmd.Flags().StringVar(&o.explain, "explain", "", "explain a `rule`, and examine nothing")
	_ = cmd.RegisterFlagCompletionFunc("explain", cobra.FixedCompletions(ruleIDs(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func ruleIDs() []string {
	var ids []string
	for _, rule := range validate.Rules() {
		ids = append(ids, rule.ID)
	}
	return ids
}

func (o *validateOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.output.check(); err != nil {
		return err
	}
	if cmd.Flags().Changed("explain") {
		return o.explainRule(cmd.OutOrStdout(), args)
	}
	if err := o.checkInputs(args); err != nil {
		return err
	}
	options, err := o.options(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	files, unread := o.read(cmd, args)
	if len(files) == 0 && unread != nil {
		return unread
	}
	if err := o.readNode(cmd, &options); err != nil {
		return err
	}
	options.Complete = o.all && unread == nil
	report, err := validate.Run(cmd.Context(), files, options)
	if err != nil {
		return err
	}
	if err := o.write(cmd.OutOrStdout(), report); err != nil {
		return err
	}
	if unread != nil {
		return unread
	}
	if report.Wrong() {
		return errShown
	}
	return nil
}

// readNode reads the node that --node or --from names. Its configuration of Plexus counts, unless --config
// gives another.
func (o *validateOptions) readNode(cmd *cobra.Command, options *validate.Options) error {
	snapshot, err := o.where.readPlanned(cmd)
	if err != nil || snapshot == nil {
		return err
	}
	if options.Node, err = nodeFacts(snapshot); err != nil {
		return err
	}
	node, err := openSaved(snapshot, o.config)
	if err == nil && node.fault != nil {
		err = fmt.Errorf("node %s: %w", options.Node.Name, node.fault)
	}
	if err != nil {
		return err
	}
	for _, assumed := range append(node.warnings, node.assumed...) {
		o.where.progress("node %s: %s", options.Node.Name, assumed)
	}
	addPlugins(options.Node, node)
	if node.file != "" {
		options.Config, options.ConfigFile = node.config, cmp.Or(o.config, "node "+options.Node.Name+": "+node.file)
	}
	return nil
}

// nodeFacts gives what validate asks of the network of a node.
func nodeFacts(snapshot *inspect.Snapshot) (*validate.Node, error) {
	node := &validate.Node{Name: snapshot.Machine.Name(), MTUs: map[string]int{}}
	for i := range snapshot.Namespaces {
		if !snapshot.Namespaces[i].Host {
			continue
		}
		for _, link := range snapshot.Namespaces[i].Links {
			node.MTUs[link.Name] = link.MTU
		}
	}
	if len(node.MTUs) == 0 {
		return nil, errors.New("the snapshot has no interface of the node itself")
	}
	return node, nil
}

// addPlugins adds what is known of the plugins of a node.
func addPlugins(facts *validate.Node, n *node) {
	files := n.listed()
	if files == nil {
		return
	}
	facts.Files, facts.Newest = files, n.newest()
	for i := range files.cni.Executables {
		facts.Plugins = append(facts.Plugins, files.cni.Executables[i].Name)
	}
}

func (o *validateOptions) checkInputs(args []string) error {
	switch {
	case o.where.from == "-" && slices.Contains(args, "-"):
		return misuse(errors.New("validate: the standard input is a snapshot (--from -) or manifests (-), not both"))
	case o.live && len(args) > 0:
		return misuse(errors.New("validate: --cluster takes no files"))
	case o.all && !o.live:
		return misuse(errors.New("validate: -A is of --cluster"))
	case !o.live && len(args) == 0:
		return misuse(errors.New("validate: name files or folders, - for the standard input, or --cluster"))
	}
	return nil
}

// read reads files, or the cluster, of which the error may say that only a part could be read.
func (o *validateOptions) read(cmd *cobra.Command, args []string) ([]validate.File, error) {
	if !o.live {
		files, err := readInputs(cmd.InOrStdin(), args)
		if err != nil {
			return nil, err
		}
		return files, nil
	}
	namespace := ""
	if !o.all {
		var err error
		if namespace, _, err = o.cluster.ToRawKubeConfigLoader().Namespace(); err != nil {
			return nil, err
		}
	}
	return readCluster(cmd.Context(), o.cluster, namespace)
}

func (o *validateOptions) write(w io.Writer, report *validate.Report) error {
	return o.output.write(w, validate.Versioned(report), func(w io.Writer) error { return validate.Formats[o.output.format](w, report) })
}

func (o *validateOptions) explainRule(w io.Writer, args []string) error {
	if len(args) > 0 {
		return misuse(errors.New("--explain: takes a rule, and no files"))
	}
	rule, known := validate.RuleOf(o.explain)
	if !known {
		return misuse(fmt.Errorf("--explain: there is no rule %q; the rules are %s", o.explain, strings.Join(ruleIDs(), ", ")))
	}
	_, err := io.WriteString(w, rule.Explain())
	return err
}

// options reads the configuration, and writes its unknown keys to stderr: one that is misspelt forbids nothing.
func (o *validateOptions) options(stderr io.Writer) (validate.Options, error) {
	options := validate.Options{Namespace: *o.cluster.Namespace, ConfigFile: o.config}
	if o.config == "" {
		return options, nil
	}
	data, err := readConfig(o.config)
	if err == nil && data == nil {
		err = errNoPlexus
	}
	if err != nil {
		return options, fmt.Errorf("--config %s: %w", o.config, err)
	}
	config, unknown, err := types.ParseConfig(data)
	if err != nil {
		return options, fmt.Errorf("--config %s: %w", o.config, err)
	}
	for _, key := range unknown {
		fmt.Fprintf(stderr, "%s: --config %s: unknown key, ignored: %s\n", program, o.config, key)
	}
	options.Config = config
	return options, nil
}

// readInputs reads what the arguments name, each file once.
func readInputs(stdin io.Reader, args []string) ([]validate.File, error) {
	var files []validate.File
	seen := map[string]bool{}
	for _, arg := range args {
		paths, err := inputPaths(arg)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			file, err := readInput(stdin, path)
			if err != nil {
				return nil, err
			}
			files = append(files, file)
		}
	}
	return files, nil
}

func readInput(stdin io.Reader, path string) (validate.File, error) {
	if path != "-" {
		data, err := os.ReadFile(path)
		return validate.File{Name: path, Data: data}, err
	}
	data, err := io.ReadAll(stdin)
	switch {
	case err != nil:
		err = fmt.Errorf("standard input: %w", err)
	case len(bytes.TrimSpace(data)) == 0: // whoever was to write it has failed, perhaps
		err = errors.New("standard input: is empty, so there is nothing to examine")
	}
	return validate.File{Name: stdinName, Data: data}, err
}

// inputPaths gives a file, or the manifests in a folder and below it, without hidden folders.
func inputPaths(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	switch {
	case arg == "-":
		return []string{arg}, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return []string{filepath.Clean(arg)}, nil
	}
	var paths []string
	err = filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != arg && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case isManifest(path):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("folder %s: has no .yaml, .yml or .json file", arg)
	}
	return paths, err
}
