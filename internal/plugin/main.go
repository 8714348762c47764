package plugin

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	types020 "github.com/containernetworking/cni/pkg/types/020"
	current "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/types"
)

// Exit codes of a plugin.
const (
	exitDone   = 0
	exitFailed = 1 // the CNI error is on standard output
	exitMisuse = 2 // the command line is wrong
)

// maxMemory is more than any call should need. Below it nothing is collected: a call is
// over before that would pay.
const maxMemory = 64 << 20

// Main is the main function of a CNI plugin.
type Main struct {
	Name string // of the executable
	Help string // what --help prints

	// Versions are the versions of CNI that it can be called in.
	Versions []string

	// Open reads a call. Its verbs run once, and Done after them.
	Open func(command string, args *skel.CmdArgs) (*Verbs, error)

	// Guard, unless nil, sees a call before it is read, and may end it: as a success if
	// done, else with an error.
	Guard func(command string) (done bool, err error)

	// Details, unless nil, gives the details of the CNI error that is made of err.
	Details func(err error) string
}

// Verbs are what a plugin can do about one call. Their context ends when the process is
// asked to stop: a verb then undoes what it has begun.
type Verbs struct {
	Add                    func(context.Context) (cnitypes.Result, error)
	Del, Check, GC, Status func(context.Context) error
	Done                   func(err error) // gets the verb's error; may be nil
}

// Run is the whole life of the process but for its exit, whose code it gives.
func (m *Main) Run(args []string) int {
	if len(args) > 0 {
		return m.usage(args[0])
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(maxMemory)
	runtime.GOMAXPROCS(1) // it waits for others: more threads would only cost
	// A runtime that is gone reads nothing, which is no reason to stop half-way. Not
	// signal.Ignore, which the processes that we start would inherit.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	if err := m.answer(); err != nil {
		if printErr := err.Print(); printErr != nil {
			fmt.Fprintf(os.Stderr, "%s: print the error: %v\n", m.Name, printErr)
		}
		return exitFailed
	}
	return exitDone
}

// usage answers a command line, which no runtime gives.
func (m *Main) usage(arg string) int {
	switch arg {
	case "--version", "-version", "version":
		fmt.Println(version.String(m.Name))
		return exitDone
	case "--help", "-help", "-h", "help":
		fmt.Print(m.Help)
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "%s: unknown argument %q; a CNI plugin is called by a runtime, see %[1]s --help\n", m.Name, arg)
	return exitMisuse
}

// answer answers the call that the environment describes.
func (m *Main) answer() *cnitypes.Error {
	if m.Guard != nil {
		if done, err := m.Guard(os.Getenv("CNI_COMMAND")); done || err != nil {
			return m.toCNI(err)
		}
	}
	about := fmt.Sprintf("%s\nA container runtime calls it. See %s --help.", version.String(m.Name), m.Name)
	return skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    m.verb("ADD", add),
		Del:    m.verb("DEL", func(ctx context.Context, v *Verbs, _ *skel.CmdArgs) error { return v.Del(ctx) }),
		Check:  m.verb("CHECK", func(ctx context.Context, v *Verbs, _ *skel.CmdArgs) error { return v.Check(ctx) }),
		GC:     m.verb("GC", func(ctx context.Context, v *Verbs, _ *skel.CmdArgs) error { return v.GC(ctx) }),
		Status: m.verb("STATUS", func(ctx context.Context, v *Verbs, _ *skel.CmdArgs) error { return v.Status(ctx) }),
	}, cniversion.PluginSupports(m.Versions...), about)
}

// verb makes skel's form of a verb.
func (m *Main) verb(command string, do func(context.Context, *Verbs, *skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		ctx, stop := untilSignal()
		defer stop()
		if command == "DEL" {
			dropHostNetwork(args)
		}
		verbs, err := m.Open(command, args)
		if err == nil {
			err = do(ctx, verbs, args)
			if verbs.Done != nil {
				verbs.Done(err)
			}
		}
		if err := m.toCNI(err); err != nil {
			return err
		}
		return nil
	}
}

// untilSignal gives a context that ends when the process is asked to stop. Its cause names
// the signal.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		select {
		case s := <-signals:
			number, _ := s.(unix.Signal)
			cancel(fmt.Errorf("%w (%s)", types.ErrSignal, unix.SignalName(number)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// add prints the result in the version of the call, in which skel knows the plugin.
func add(ctx context.Context, verbs *Verbs, args *skel.CmdArgs) error {
	if err := refuseHostNetwork(args); err != nil {
		return err
	}
	result, err := verbs.Add(ctx)
	if err != nil {
		return err
	}
	callVersion, err := (&cniversion.ConfigDecoder{}).Decode(args.StdinData)
	if err != nil {
		return err
	}
	if result, err = inVersion(result, callVersion); err != nil {
		return err
	}
	return result.Print()
}

// inVersion gives a result in the version of the call. Those before 0.3.0 know nothing but
// addresses; where there is none, the conversion refuses what is empty then.
func inVersion(result cnitypes.Result, version string) (cnitypes.Result, error) {
	if !types.IsOldVersion(version) {
		return result.GetAsVersion(version)
	}
	whole, err := current.NewResultFromResult(result)
	if err == nil && len(whole.IPs) == 0 {
		return &types020.Result{CNIVersion: version, DNS: whole.DNS}, nil
	}
	return result.GetAsVersion(version)
}
