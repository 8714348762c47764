package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/plexus-cni/plexus/internal/install"
	"github.com/plexus-cni/plexus/types"
)

// installOptions are the flags of install.
type installOptions struct {
	install.Options
	log    logOptions
	extra  string
	follow bool
	dryRun bool
}

func newInstall() *cobra.Command {
	o := &installOptions{}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put plexus onto this node",
		Long: `install copies the executables plexus and plexus-once, and plexus-sriov and
plexus-vhostuser if --from has them, into the folder of the CNI plugins, waits until
the configuration of the node's default network is there and its plugins are, and
writes plexus's own configuration, which names it, to the head of the runtime's folder.

The default network is the first configuration in the folder, by the names of the
files, that is not plexus's or Multus's by its content, nor a lone loopback, nor the
bridge of CRI-O, podman or nerdctl; --master names another. It is ready when its
executables are in --bin-dir and --readiness-file, if set, is there.

Nothing is ever seen half-written, a configuration of somebody else is never overwritten, and
the configuration comes last: until then, the node works as it did. Again, install
changes only what is not up to date.

It needs to be root, and no capability where the folders belong to root. In a
container, mount the host's folders, and name those that have other paths on the host
by the --host- flags. In the generated configuration every path is the host's.`,
		Example: `  # See what would be done, and the configuration that would be written.
  plexus-agent install --from ./bin --dry-run

  # On a node, with the kubelet's credentials for when no agent answers.
  plexus-agent install --from ./bin --kubeconfig /etc/kubernetes/kubelet.conf

  # As a container of a DaemonSet: stay, and keep step with the default network.
  plexus-agent install --follow --conf-dir /host/cni/net.d --host-conf-dir /etc/cni/net.d

  # With further keys of plexus's configuration.
  plexus-agent install --master 10-flannel.conflist --extra-config '{"namespaceIsolation": true}'`,
		Args: func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.bind(cmd.Flags())
	o.bindConfiguration(cmd.Flags())
	o.log.bind(cmd.Flags())
	return cmd
}

// bind adds the flags for the places of things and for when to go on.
func (o *installOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.From, "from", install.DefaultFrom, "`folder` of the executables to copy")
	flags.StringVar(&o.BinDir, "bin-dir", types.DefaultBinDir, "`folder` of the CNI plugins")
	flags.StringVar(&o.ConfDir, "conf-dir", install.DefaultConfDir, "`folder` of the runtime's CNI configurations")
	flags.StringVar(&o.ConfName, "conf-name", install.DefaultConfName, "`file` to write in --conf-dir; the runtime takes the first one by name")
	flags.StringVar(&o.HostBinDir, "host-bin-dir", "", "what --bin-dir is on the host (default: the same `folder`)")
	flags.StringVar(&o.HostConfDir, "host-conf-dir", "", "what --conf-dir is on the host (default: the same `folder`)")
	flags.StringVar(&o.HostKubeconfig, "host-kubeconfig", "", "what --kubeconfig is on the host (default: the same `file`)")
	flags.StringVar(&o.Master, "master", "", "the default network: `name` of a file in --conf-dir, or of a network (default: the first)")
	flags.StringVar(&o.ReadinessFile, "readiness-file", "", "`file` that is there once the default network is up; plexus waits for it too")
	flags.DurationVar(&o.Timeout, "timeout", 0, "how long to wait for the default network; 0 is for ever")
	flags.BoolVar(&o.follow, "follow", false, "stay, follow the default network, and put the configuration and the executables back when somebody removes them")
	flags.StringVar(&o.MetricsAddress, "metrics-address", "", "`address` of the probes and metrics of --follow; empty for none")
	flags.StringVar(&o.MetricsCert, "metrics-tls-cert", "", "`file` of a certificate (PEM) with which probes and metrics of --follow are served over TLS")
	flags.StringVar(&o.MetricsKey, "metrics-tls-key", "", "`file` of the key of --metrics-tls-cert")
	flags.BoolVar(&o.dryRun, "dry-run", false, "change nothing: log what would be done, and print the configuration")
}

// bindConfiguration adds the flags that become keys of plexus's configuration.
func (o *installOptions) bindConfiguration(flags *pflag.FlagSet) {
	flags.StringVar(&o.NetworkName, "network-name", install.DefaultNetworkName, "`name` of plexus's own network; do not change it while pods are attached")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "key kubeconfig: `file` by which the API is reached when no agent answers (recommended: the kubelet's own, /etc/kubernetes/kubelet.conf)")
	flags.StringVar(&o.Socket, "socket", types.DefaultAgentSocket, "key agentSocket: `path` of the agent's socket on the host; empty is never to ask an agent")
	flags.StringVar(&o.PodResources, "pod-resources-socket", types.DefaultPodResourcesSocket, "key podResourcesSocket: `path` on the host of the socket on which the kubelet says which devices pods have; empty where there is none to ask")
	flags.StringVar(&o.CNIDir, "cni-dir", types.DefaultCNIDir, "key cniDir: `folder` of plexus's state on the host")
	flags.StringVar(&o.PluginLogLevel, "plugin-log-level", "", "key logLevel: the `level` at which plexus itself logs")
	flags.StringVar(&o.PluginLogFile, "plugin-log-file", "", "key logFile: the `file` on the host to which plexus itself logs")
	flags.StringVar(&o.extra, "extra-config", "", "further keys of plexus's configuration, which win over all others: a JSON object, or a `file` that has one")
}

func (o *installOptions) run(cmd *cobra.Command) error {
	log, err := o.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if o.Extra, err = install.ReadExtra(o.extra); err != nil {
		return misuse(err)
	}
	installer, err := install.New(o.Options, log)
	if err != nil {
		return markMisuse(err)
	}
	switch {
	case o.dryRun:
		return installer.Preview(cmd.OutOrStdout())
	case o.follow:
		return installer.Follow(cmd.Context())
	}
	return installer.Install(cmd.Context())
}

// markMisuse makes a misuse of what package install takes for one.
func markMisuse(err error) error {
	if install.IsMisuse(err) {
		return misuse(err)
	}
	return err
}

// uninstallOptions are the flags of uninstall.
type uninstallOptions struct {
	install.UninstallOptions
	log    logOptions
	dryRun bool
	enter  bool
}

func newUninstall() *cobra.Command {
	o := &uninstallOptions{}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take plexus away from this node",
		Long: `uninstall removes plexus's configuration, so that the runtime goes back to the default
network's own, and then the executables. It removes only what is plexus's by its
content, whatever the name.

While sandboxes are attached by plexus, it changes nothing, and lists them: only plexus
can release all of their networks. Drain the node first, or use --release: it makes the
DEL of each of them as the runtime would. The pods go on, without any network.

What is left of sandboxes that are gone is released in any case. If something cannot be
released, the executables and the configuration stay: mend the cause, and run it again.

Delete plexus's DaemonSet first: its install --follow would put the configuration back,
and uninstall refuses to work beside it.

It needs to be root in the network, mount and PID namespaces of the host: on the node
itself, or in a privileged container with the host's PID namespace and --enter-host.`,
		Example: `  # See what would be done.
  plexus-agent uninstall --dry-run

  # On a node without pods of plexus.
  kubectl drain worker-1 --ignore-daemonsets
  plexus-agent uninstall

  # On a node that is given up.
  plexus-agent uninstall --release`,
		Args: func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.bind(cmd.Flags())
	o.log.bind(cmd.Flags())
	return cmd
}

func (o *uninstallOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.From, "from", install.DefaultFrom, "`folder` of the executables as they were copied, by which they are known; others must say that they are plexus's")
	flags.StringVar(&o.BinDir, "bin-dir", types.DefaultBinDir, "`folder` of the CNI plugins")
	flags.StringVar(&o.ConfDir, "conf-dir", install.DefaultConfDir, "`folder` of the runtime's CNI configurations")
	flags.StringVar(&o.ConfName, "conf-name", install.DefaultConfName, "`file` of plexus in --conf-dir")
	flags.StringVar(&o.CNIDir, "cni-dir", "", "`folder` of plexus's state (default: what the installed configuration says, or "+types.DefaultCNIDir+")")
	flags.BoolVar(&o.Release, "release", false, "take their networks from the sandboxes that are alive, instead of refusing")
	flags.BoolVar(&o.dryRun, "dry-run", false, "change nothing: print what would be done")
	flags.BoolVar(&o.enter, "enter-host", false, "in a privileged container with hostPID: run in the host's network and mount namespaces; every path is then the host's")
}

func (o *uninstallOptions) run(cmd *cobra.Command) error {
	log, err := o.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	uninstaller, err := install.NewUninstaller(o.UninstallOptions, log)
	if err != nil {
		return markMisuse(err)
	}
	if o.enter {
		if err := enterHost(); err != nil {
			return err
		}
		if err := isNode(o.ConfDir); err != nil {
			return err
		}
	}
	if o.dryRun {
		return uninstaller.Preview(cmd.Context(), cmd.OutOrStdout())
	}
	return uninstaller.Uninstall(cmd.Context())
}
