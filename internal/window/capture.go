package window

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/capture"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/style"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// captureOptions are the flags of capture.
type captureOptions struct {
	path       pathOptions // the pod, and the far end of --path
	along      bool
	interfaces []string
	chooser    capture.Chooser
	program    string // the file of --bpf
	write      string
	count      int
	duration   time.Duration
	keep       int
}

func newCapture(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &captureOptions{path: pathOptions{fallback: cluster.Namespace}}
	o.path.openNode = o.path.node.openNode
	cmd := &cobra.Command{
		Use:   "capture NAMESPACE/POD [-i INTERFACE]... [--path [to NAMESPACE/POD|ADDRESS]] [FILTER]",
		Short: "Capture the packets of a pod, or those along a path of it",
		Long: `capture answers: which packets pass here? It prints a line for each, or writes them with -w as pcapng, which
Wireshark and tshark read: with the names of pods, networks and interfaces, and with what was lost. Without
-i it captures every interface of the pod but the loopback.

With --path it captures at every interface between the pod and the far end, on both nodes at once, and says
of each packet of the two at which hop of the way it is. Where a tunnel carries the packets, the filter is
about what is in the tunnel. Without "to", the far end is the gateway of the interface that -i names.

FILTER is in the language of tcpdump (docs/capture.md); what capture does not know of it, it refuses. --bpf
takes what "tcpdump -ddd" prints. It ends with Ctrl-C, after -c packets, or after --duration.

The node is found as by path; it takes NET_RAW, which the window pod has for it. Nothing of a node is
changed. Whoever may use it sees what all pods of a node send (docs/window.md).`,
		Example: `  kubectl plexus capture shop/web -i net0 'icmp or arp'
  kubectl plexus capture shop/web -w web.pcapng --duration 30s 'port 5432'
  kubectl plexus capture shop/web -i net0 -w - | wireshark -k -i -
  kubectl plexus capture shop/web -i net0 --path to shop/db -w path.pcapng icmp
  sudo kubectl-plexus capture shop/web -c 10 'vlan 100 and host 10.1.0.9'`,
		Args: usageArgs(o.parse),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.path.node.add(cmd, cluster)
	o.path.node.here = true
	o.path.node.needs = windowpod.Watch
	o.path.node.addPods(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.interfaces, "interface", "i", nil, "`interface` of the pod; may be given several times")
	flags.BoolVar(&o.along, "path", false, "capture at every interface on the way to the far end")
	flags.StringVarP(&o.write, "write", "w", "", "write pcapng into this `file`; - is the standard output")
	flags.StringVar(&o.program, "bpf", "", "choose packets by the program in this `file`, as tcpdump -ddd prints it")
	flags.IntVarP(&o.count, "count", "c", 0, "end after this many packets")
	flags.DurationVar(&o.duration, "duration", 0, "end after this time")
	flags.IntVar(&o.keep, "snapshot-length", 0, "keep this many `bytes` of each packet; 0 keeps all")
	return cmd
}

// parse takes the pod, the far end, and what is left as the filter.
func (o *captureOptions) parse(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("capture takes a pod, as NAMESPACE/POD")
	}
	o.path.query.From, args = args[0], args[1:]
	if o.along && len(args) > 0 && args[0] == "to" {
		if len(args) == 1 {
			return errors.New(`"to" takes the far end, as NAMESPACE/POD or ADDRESS`)
		}
		if err := o.path.parse(cmd, []string{o.path.query.From, args[1]}); err != nil {
			return err
		}
		args = args[2:]
	}
	o.chooser.Text = strings.Join(args, " ")
	return o.check(cmd)
}

// check refuses flags that say nothing together.
func (o *captureOptions) check(cmd *cobra.Command) error {
	switch {
	case !o.along && strings.HasPrefix(o.chooser.Text, "to "):
		return errors.New(`"to" is the far end of --path: give that flag`)
	case o.along && len(o.interfaces) > 1:
		return errors.New("--path begins at one interface: give -i once")
	case o.path.query.Port != 0:
		return fmt.Errorf("the far end has no port here: write it into the filter, as %q", fmt.Sprintf("port %d", o.path.query.Port))
	case o.along && o.path.query.To == "" && len(o.interfaces) == 0:
		return errors.New("--path takes the far end, as --path to NAMESPACE/POD, or the interface whose gateway it is, with -i")
	case o.program != "" && o.chooser.Text != "":
		return fmt.Errorf("--bpf and the filter %q both choose packets: give one of the two", o.chooser.Text)
	case slices.Contains(o.interfaces, ""):
		return errors.New("-i names no interface: without the flag, all are captured")
	case cmd.Flags().Changed("write") && o.write == "":
		return errors.New("-w names no file: give one, or - for the standard output")
	case cmd.Flags().Changed("bpf") && o.program == "":
		return errors.New("--bpf names no file: give one that tcpdump -ddd has printed")
	case o.count < 0, o.duration < 0, o.keep < 0:
		return errors.New("--count, --duration and --snapshot-length are not below 0")
	}
	if _, err := filter.Compile(o.chooser.Text, filter.Ethernet); err != nil {
		return err
	}
	return o.readProgram()
}

func (o *captureOptions) readProgram() error {
	if o.program == "" {
		return nil
	}
	file, err := os.Open(o.program)
	if err == nil {
		o.chooser.Program, err = filter.ParseProgram(file)
		_ = file.Close()
	}
	if err != nil {
		return fmt.Errorf("--bpf %s: %w", o.program, err)
	}
	return nil
}

func (o *captureOptions) run(cmd *cobra.Command) (err error) {
	o.path.query.From = o.path.subject(o.path.query.From)
	if o.path.query.To != "" {
		o.path.query.To = o.path.subject(o.path.query.To)
	}
	if o.along && len(o.interfaces) == 1 {
		o.path.query.Interface = o.interfaces[0]
	}
	v := &visited{}
	defer func() { err = errors.Join(err, v.close()) }()
	points, document, err := o.points(cmd, v)
	if err != nil {
		return err
	}
	tasks, err := o.chooser.Tasks(points, o.keep)
	if err != nil {
		return misuse(err)
	}
	sink, closeSink, err := o.open(cmd, v, points)
	if err != nil {
		return err
	}
	recorder := capture.NewRecorder(sink, points, document)
	recorder.Most = o.count
	endsByItself(cmd.Context())
	signal.Ignore(syscall.SIGPIPE) // the summary comes also where the reader has seen enough
	err = o.follow(cmd, v, tasks, recorder)
	o.say(cmd, recorder.Summary())
	return errors.Join(err, closeSink())
}

func (*captureOptions) say(cmd *cobra.Command, text string) {
	_, _ = fmt.Fprintf(style.Safe(cmd.ErrOrStderr(), false), "%s: %s\n", program, text)
}

// points gives the interfaces of the pod, or those of the path.
func (o *captureOptions) points(cmd *cobra.Command, v *visited) ([]capture.Point, *path.Document, error) {
	if err := o.path.read(cmd, v); err != nil {
		return nil, nil, err
	}
	if !o.along {
		s, inode, err := v.find(o.path.query.From)
		if err != nil {
			return nil, nil, err
		}
		points, err := capture.OfPod(s, inode, o.interfaces)
		return points, nil, err
	}
	if err := o.toGateway(v); err != nil {
		return nil, nil, err
	}
	document, err := o.path.trace(cmd.Context(), v)
	if err != nil {
		return nil, nil, err
	}
	points := capture.OfPath(document, v.snapshots)
	if len(points) == 0 {
		return nil, nil, fmt.Errorf("no packet leaves %s for %s: %s", document.From.Subject, document.To.Subject, document.There.Summary())
	}
	return points, document, nil
}

// toGateway makes the gateway of the interface the far end, if none is named.
func (o *captureOptions) toGateway(v *visited) error {
	if o.path.query.To != "" {
		return nil
	}
	s, inode, err := v.find(o.path.query.From)
	if err != nil {
		return err
	}
	ns := inspect.NewGraph(s).Namespace(inode)
	link := ns.LinkNamed(o.path.query.Interface)
	if link == nil {
		return fmt.Errorf("%s has no interface %s", ns.Title(), o.path.query.Interface)
	}
	for _, route := range ns.Routes {
		if route.Index == link.Index && route.Via != "" {
			o.path.query.To = route.Via
			return nil
		}
	}
	return misuse(fmt.Errorf("%s of %s has no gateway: name the far end, as --path to NAMESPACE/POD", link.Name, ns.Title()))
}

// follow captures until it is told to stop, has enough, or every interface is gone. One node that fails ends it.
func (o *captureOptions) follow(cmd *cobra.Command, v *visited, tasks []capture.Task, recorder *capture.Recorder) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if o.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	f := &following{captureOptions: o, cmd: cmd, recorder: recorder, cancel: cancel, deaf: len(tasks)}
	errs := make([]error, len(tasks))
	var all sync.WaitGroup
	for i := range tasks {
		all.Go(func() {
			errs[i] = v.watch(ctx, &tasks[i], func(s inspect.Sighting) error { return f.saw(&tasks[i], s) })
			if errs[i] != nil {
				cancel()
			}
		})
	}
	go handOn(ctx, f.settle, cancel)
	all.Wait()
	byItself := ctx.Err() == nil
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf > 0 { // it never began: a file that was there stays as it is
		if err := errors.Join(errs...); err != nil || cmd.Context().Err() != nil {
			return err
		}
		return errors.New("--duration was over before every node had begun to capture")
	}
	unwritten := recorder.End()
	errs = slices.DeleteFunc(errs, func(err error) bool { return unwritten != nil && errors.Is(err, unwritten) })
	if errors.Is(unwritten, syscall.EPIPE) {
		unwritten = nil // the reader has seen enough
	}
	if byItself {
		errs = append(errs, errors.New("every interface is gone that was captured on"))
	}
	return errors.Join(append(errs, unwritten)...)
}

// following is a capture under way: several nodes speak at once.
type following struct {
	*captureOptions
	cmd      *cobra.Command
	cancel   func()
	mu       sync.Mutex
	recorder *capture.Recorder
	deaf     int // nodes that do not watch yet
	gone     int // interfaces that were said to be
}

func (f *following) saw(task *capture.Task, s inspect.Sighting) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Ready {
		if f.deaf--; f.deaf == 0 {
			if err := f.recorder.Begin(); err != nil {
				return err
			}
			f.say(f.cmd, f.recorder.Begins())
		}
	}
	err := f.recorder.Saw(task, s)
	if f.deaf == 0 && f.recorder.Full() {
		f.cancel()
	}
	if gone := f.recorder.Gone(); len(gone) > f.gone {
		f.gone = len(gone)
		f.say(f.cmd, "gone, and not captured any more: "+strings.Join(gone, ", "))
	}
	return err
}

func (f *following) settle() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf > 0 {
		return nil // nothing is written before it has begun
	}
	return f.recorder.Settle(time.Now())
}

// handOn runs a function again and again, until the context ends or it fails.
func handOn(ctx context.Context, run func() error, failed func()) {
	tick := time.NewTicker(capture.Patience / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if run() != nil {
				failed() // the same error comes at the end
				return
			}
		}
	}
}
