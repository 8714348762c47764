package window

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// completeTimeout is how long somebody waits for TAB.
const completeTimeout = 2 * time.Second

// completion is what cobra calls for the words that can stand somewhere.
type completion = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completer offers the names of a cluster, or of a saved snapshot.
type completer struct {
	cluster *genericclioptions.ConfigFlags
}

// words makes a completion of a function that gives all words.
func words(all func(cmd *cobra.Command, begun string) []string) completion {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		fitting := slices.DeleteFunc(all(cmd, begun), func(word string) bool { return !strings.HasPrefix(word, begun) })
		slices.Sort(fitting)
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(fitting) > 0 && !slices.ContainsFunc(fitting, func(word string) bool { return !strings.HasSuffix(word, "/") }) {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return slices.Compact(fitting), directive
	}
}

// pods offers NAMESPACE/POD: namespaces until there is a slash, and the pods of --namespace.
func (c completer) pods(cmd *cobra.Command, begun string) []string {
	if snapshot := savedOf(cmd); snapshot != nil {
		var names []string
		for _, record := range snapshot.Records {
			names = append(names, record.Pod)
		}
		return names
	}
	namespace, _, qualified := strings.Cut(begun, "/")
	if qualified {
		return c.podsOf(cmd.Context(), namespace, namespace+"/")
	}
	var names []string
	for _, namespace := range c.namespaces(cmd, "") {
		names = append(names, namespace+"/")
	}
	if given := *c.cluster.Namespace; given != "" {
		names = append(names, c.podsOf(cmd.Context(), given, "")...)
	}
	return names
}

func (c completer) podsOf(ctx context.Context, namespace, prefix string) []string {
	return c.ask(ctx, func(ctx context.Context, source *clusterSource) (names []string, err error) {
		list, err := source.core.Pods(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			names = append(names, prefix+list.Items[i].Name)
		}
		return names, nil
	})
}

func (c completer) namespaces(cmd *cobra.Command, _ string) []string {
	return c.ask(cmd.Context(), func(ctx context.Context, source *clusterSource) (names []string, err error) {
		list, err := source.core.Namespaces().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return names, nil
	})
}

func (c completer) nodes(cmd *cobra.Command, _ string) []string {
	return c.ask(cmd.Context(), func(ctx context.Context, source *clusterSource) (names []string, err error) {
		list, err := source.core.Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return names, nil
	})
}

// networks offers those that pods of the snapshot or of the cluster have, as get has them.
func (c completer) networks(cmd *cobra.Command, _ string) []string {
	if snapshot := savedOf(cmd); snapshot != nil {
		var names []string
		for _, record := range snapshot.Records {
			for _, attachment := range record.Attachments {
				names = append(names, attachment.Network)
			}
		}
		return names
	}
	return c.ask(cmd.Context(), networkNames)
}

// networkNames gives the NetworkAttachmentDefinitions of all namespaces.
func networkNames(ctx context.Context, source *clusterSource) (names []string, err error) {
	var list metav1.PartialObjectMetadataList
	request := source.core.RESTClient().Get().AbsPath("/apis/k8s.cni.cncf.io/v1/network-attachment-definitions").Param("resourceVersion", "0")
	data, err := request.DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	for i := range list.Items {
		names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
	}
	return names, err
}

// interfaces offers eth0 and the others that the pod of the line has.
func (c completer) interfaces(cmd *cobra.Command, pod string) []string {
	if snapshot := savedOf(cmd); snapshot != nil {
		var names []string
		for _, record := range snapshot.Records {
			for _, attachment := range record.Attachments {
				if record.Pod == podName(pod, *c.cluster.Namespace) {
					names = append(names, attachment.Interface)
				}
			}
		}
		return names
	}
	namespace, name, _ := strings.Cut(podName(pod, *c.cluster.Namespace), "/")
	return c.ask(cmd.Context(), func(ctx context.Context, source *clusterSource) ([]string, error) {
		found, err := source.core.Pods(namespace).Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		names := []string{"eth0"}
		all, err := types.ParseStatus(found.Annotations[types.AnnotationNetworkStatus])
		for _, one := range all {
			if one.Interface != "" {
				names = append(names, one.Interface)
			}
		}
		return names, err
	})
}

// ofPod makes a completion of a flag for what the pod of the line has.
func ofPod(all func(cmd *cobra.Command, pod string) []string) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(func(cmd *cobra.Command, _ string) []string { return all(cmd, args[0]) })(cmd, args, begun)
	}
}

// ask asks the cluster. Without an answer there are no words: TAB has no place for an error.
func (c completer) ask(ctx context.Context, question func(context.Context, *clusterSource) ([]string, error)) []string {
	if !hasCluster(c.cluster) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	source, err := openCluster(c.cluster)
	if err != nil {
		return nil
	}
	names, _ := question(ctx, source)
	return names
}

// savedOf gives the snapshots of --from as one, nil if there are none.
func savedOf(cmd *cobra.Command) *inspect.Snapshot {
	flag := cmd.Flags().Lookup("from")
	if flag == nil || !flag.Changed {
		return nil
	}
	files := []string{flag.Value.String()}
	if several, is := flag.Value.(pflag.SliceValue); is {
		files = several.GetSlice()
	}
	all := inspect.New()
	for _, file := range files {
		if file == "-" { // TAB does not read it
			continue
		}
		if snapshot, err := load(cmd, file); err == nil {
			all.Records = append(all.Records, snapshot.Records...)
		}
	}
	return all
}

// addCompletion adds the completion of pods, nodes, networks and namespaces to all commands.
func addCompletion(root *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	c := completer{cluster}
	_ = root.RegisterFlagCompletionFunc("namespace", words(c.namespaces))
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "get", "inspect":
			cmd.ValidArgsFunction = atMost(1, words(c.pods))
		case "snapshot":
			cmd.ValidArgsFunction = words(c.pods)
		case "ui":
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		case "path":
			cmd.ValidArgsFunction = c.path
			_ = cmd.RegisterFlagCompletionFunc("interface", ofPod(c.interfaces))
		case "capture":
			cmd.ValidArgsFunction = c.capture
			_ = cmd.RegisterFlagCompletionFunc("interface", ofPod(c.interfaces))
		case "explain":
			cmd.ValidArgsFunction = c.explain
		}
		for flag, all := range map[string]func(*cobra.Command, string) []string{"network": c.networks, "node": c.nodes} {
			if cmd.Flags().Lookup(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, words(all))
			}
		}
	}
}

// atMost offers nothing once there are so many arguments.
func atMost(n int, of completion) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return of(cmd, args, begun)
	}
}

// path offers a pod, the word to, and another pod.
func (c completer) path(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return []string{"to"}, cobra.ShellCompDirectiveNoFileComp
	}
	return atMost(3, words(c.pods))(cmd, args, begun)
}

// capture offers a pod, and with --path the word to, and another pod.
func (c completer) capture(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if along := cmd.Flags().Lookup("path"); along.Changed {
		return c.path(cmd, args, begun)
	}
	return atMost(1, words(c.pods))(cmd, args, begun)
}

// explain offers the word pod, and then a pod.
func (c completer) explain(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"pod"}, cobra.ShellCompDirectiveNoFileComp
	}
	return atMost(2, words(c.pods))(cmd, args, begun)
}
