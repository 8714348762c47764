package window

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/types"
)

// unknownNetwork stands for the default network of a node whose configuration is not known.
const unknownNetwork = "default-network"

// assumedConfig is Plexus's configuration where none is known: its own defaults.
const assumedConfig = `{"cniVersion": "1.1.0", "name": "plexus", "type": "plexus",
	"delegates": [{"cniVersion": "1.0.0", "name": "` + unknownNetwork + `", "type": "` + unknownNetwork + `"}]}`

// node is the node that pods are planned for, as far as it is known.
type node struct {
	saved    *inspect.Snapshot // that it was read from; nil for this machine
	file     string            // of the configuration; "" if one is assumed
	config   *types.Config     // nil beside a fault
	fault    error             // that ADD has with the configuration
	warnings []string
	assumed  []string
	files    plan.Node
}

// errNoPlexus is the error for a CNI configuration of other plugins.
var errNoPlexus = errors.New("no plugin in it has the type plexus")

// openNode reads Plexus's configuration from a file, or from the first of the runtime's folder.
func openNode(file, confDir string) (*node, error) {
	n := &node{file: file}
	if file != "" {
		return n, n.openConfig()
	}
	files, err := confdir.Read(confDir)
	if err == nil {
		err = n.openFiles(files, confDir)
	}
	return n, err
}

// openConfig reads the configuration that --config names.
func (n *node) openConfig() error {
	data, err := readConfig(n.file)
	if err == nil && data == nil {
		err = errNoPlexus
	}
	if err != nil {
		return fmt.Errorf("--config %s: %w", n.file, err)
	}
	n.parse(data)
	return nil
}

// openFiles takes the configuration of the runtime's folder, or assumes one.
func (n *node) openFiles(files []confdir.File, confDir string) error {
	data, err := n.findConfig(files, confDir)
	if err != nil {
		return err
	}
	if data == nil {
		data = []byte(assumedConfig)
		n.assume("the configuration of plexus has its defaults, and a default network that is not known: none was given (--config), and there is none in %s", confDir)
	}
	n.parse(data)
	return nil
}

func (n *node) assume(format string, args ...any) {
	n.assumed = append(n.assumed, fmt.Sprintf(format, args...))
}

// parse reads the configuration as ADD does.
func (n *node) parse(data []byte) {
	config, unknown, err := types.ParseConfig(data)
	if err != nil {
		n.fault = types.WithCode(types.CodeInvalidConfig, err)
		return
	}
	for _, key := range unknown {
		n.warnings = append(n.warnings, "configuration of plexus: unknown, ignored: "+key)
	}
	n.config = config
	n.files = n.chooseFiles()
}

// chooseFiles takes this machine for the node if it has the folder of plugins.
func (n *node) chooseFiles() plan.Node {
	files := n.chooseSource()
	if n.file == "" {
		return unknownDefault{files}
	}
	return files
}

// unknownDefault is a node on which the default network that is not known can be run.
type unknownDefault struct{ plan.Node }

// CheckPlugin takes the plugin of that network for there.
func (u unknownDefault) CheckPlugin(name string) error {
	if name == unknownNetwork {
		return nil
	}
	return u.Node.CheckPlugin(name)
}

func (n *node) chooseSource() plan.Node {
	if n.saved != nil {
		return n.savedFiles()
	}
	folders := append([]string{n.config.BinDir}, filepath.SplitList(os.Getenv("CNI_PATH"))...)
	if info, err := os.Stat(n.config.BinDir); err == nil && info.IsDir() {
		local := &plan.LocalNode{Path: folders}
		if self, err := invoke.FindInPath("plexus", folders); err == nil {
			local.Self, _ = os.Stat(self)
		}
		return local
	}
	n.assume("every plugin is there: this machine has no %s", n.config.BinDir)
	return &elsewhere{n.config.BinDir, errNotNode}
}

func (n *node) describe() explain.Node {
	described := explain.Node{Configuration: n.file, Assumed: n.assumed, Warnings: n.warnings}
	if n.saved != nil {
		described.Name, described.Taken = n.saved.Machine.Name(), n.saved.Machine.Taken
	}
	return described
}

// explain plans a pod, and gives what ADD would do, or its error.
func (n *node) explain(ctx context.Context, facts *types.Facts, showSecrets bool) (explain.Pod, error) {
	ref := types.Ref{Namespace: facts.Pod.Namespace, Name: facts.Pod.Name}
	if n.fault != nil {
		return explain.OfError(ref, n.fault), nil
	}
	p := n.newPlanning()
	made, err := p.planner.Plan(ctx, facts, sandboxOf(&facts.Pod))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return explain.Pod{}, err
	case errors.As(err, new(*unknownFileError)):
		return explain.Pod{}, withoutRepeats(ref, err)
	default:
		pod := explain.OfError(ref, err)
		pod.Warnings, pod.Assumed = p.warnings, p.assumed()
		return pod, nil
	}
	opts := explain.Options{ShowSecrets: showSecrets}
	if n.file == "" {
		opts.Unknown = unknownNetwork
	}
	pod, err := explain.OfPlan(ctx, made, opts)
	pod.Warnings, pod.Assumed, pod.AddKnows = p.warnings, p.assumed(), n.addKnows(&pod)
	return pod, err
}

// addKnows says what only the ADD can know.
func (n *node) addKnows(pod *explain.Pod) []string {
	knows := []string{"what each plugin answers: addresses, routes, MAC addresses; the next plugin of the network gets it as prevResult"}
	handed := slices.DeleteFunc(slices.Sorted(maps.Keys(n.config.Capabilities)), func(capability string) bool {
		return capability == types.CapabilityPodAnnotations || !n.config.Capabilities[capability]
	})
	if len(handed) > 0 {
		knows = append(knows, "what the runtime hands over for the default network: "+strings.Join(handed, ", "))
	}
	if slices.ContainsFunc(pod.Attachments, func(a explain.Attachment) bool { return len(a.IPs) > 0 || a.MAC != "" }) {
		knows = append(knows, "whether the plugins give the addresses that the pod asks for: it fails if not")
	}
	if slices.ContainsFunc(pod.Attachments, func(a explain.Attachment) bool { return a.CNIArgs != "" }) {
		knows = append(knows, "the runtime's own CNI_ARGS, which every plugin gets too")
	}
	if slices.ContainsFunc(pod.Attachments, func(a explain.Attachment) bool { return a.DeviceFile != "" }) {
		knows = append(knows, "the ID of the container, for which zeros stand in the name of a file")
	}
	if file := n.config.ReadinessIndicatorFile; file != "" {
		knows = append(knows, "when "+file+" is there, for which it waits")
	}
	return knows
}

// sandboxOf is the sandbox that a runtime would make for a pod. Its container ID has the length of
// those of every runtime.
func sandboxOf(pod *types.Pod) types.Sandbox {
	const length = 64
	sandbox := types.Sandbox{ContainerID: strings.Repeat("0", length), IfName: "eth0", Args: [][2]string{{"IgnoreUnknown", "1"}}}
	if pod.Known() {
		sandbox.Args = append(sandbox.Args, [][2]string{
			{types.ArgPodNamespace, pod.Namespace},
			{types.ArgPodName, pod.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", sandbox.ContainerID},
			{types.ArgPodUID, pod.UID},
		}...)
	}
	return sandbox
}

// planning is the planning of one pod, and what is noted meanwhile.
type planning struct {
	planner  *plan.Planner
	warnings []string
	mu       sync.Mutex
	unasked  []string // plugins that ADD would ask for their versions
}

func (n *node) newPlanning() *planning {
	p := &planning{}
	p.planner = &plan.Planner{
		Config: n.config, Node: n.files,
		DeviceInfoPath: func(network, containerID, ifName string) string {
			return path.Join(types.DefaultDeviceInfoDir, types.DeviceInfoName(network, containerID, ifName))
		},
		Speak: func(_ context.Context, plugin string) ([]string, error) { return p.speak(plugin, n.config.CNIVersion) },
		Warn: func(format string, args ...any) {
			p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
		},
	}
	return p
}

// speak answers for a plugin, whose VERSION is not run, with the versions up to that of the call.
func (p *planning) speak(plugin, callVersion string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unasked = append(p.unasked, plugin)
	all := version.All.SupportedVersions()
	return all[:max(slices.Index(all, callVersion), 0)+1], nil
}

func (p *planning) assumed() []string {
	if len(p.unasked) == 0 {
		return nil
	}
	slices.Sort(p.unasked)
	return []string{fmt.Sprintf("the plugins of a network without a cniVersion speak that of the runtime's call, %s; ADD asks them: %s",
		p.planner.Config.CNIVersion, strings.Join(slices.Compact(p.unasked), ", "))}
}

// findConfig finds Plexus's configuration among the files of the runtime's folder, and warns of those
// before it: the runtime takes the first.
func (n *node) findConfig(files []confdir.File, confDir string) ([]byte, error) {
	ours := confdir.FindPlexus(files)
	for i := range files {
		file := &files[i]
		path := n.join(confDir, file.Name)
		if file.Fault != nil {
			n.warnings = append(n.warnings, fmt.Sprintf("%s is broken: %v", path, file.Fault))
		} else if ours != nil && file.Name < ours.Name {
			n.warnings = append(n.warnings, fmt.Sprintf("%s sorts before %s: the runtime takes it, and no pod gets plexus", path, ours.Name))
		}
	}
	if ours == nil || ours.Fault != nil {
		return nil, nil
	}
	n.file = n.join(confDir, ours.Name)
	return confdir.PlexusConf(ours.Data)
}

// readConfig gives the configuration of Plexus in a file, as a runtime hands it over; nil if the
// file has none.
func readConfig(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return confdir.PlexusConf(data)
}
