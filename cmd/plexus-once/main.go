// Command plexus-once answers for one CNI call what plexus-agent would answer if it
// were there. plexus starts it as its child, with a connected unix socket as file
// descriptor 3, and speaks the agent's protocol to it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient/kubelet"
)

const (
	exitMisuse = 2
	socketFD   = 3
	// lifetime is more than the longest ADD with its undo and what is done after it.
	lifetime = 5 * time.Minute
)

const usage = `plexus-once answers the questions of one CNI call about a pod and its networks, and
writes the pod's status, on a node where no plexus-agent answers.

It is not for people: the CNI plugin plexus starts it, with a connected unix socket as
file descriptor 3.

Flags:
`

// options are the flags.
type options struct {
	kubeconfig string
	manifests  string
	stateDir   string
	nodeName   string
	devices    kubelet.Devices
	version    bool
}

func main() {
	runtime.GOMAXPROCS(1)                                // it waits, it does not compute: further threads only cost
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // the asker may be gone, which is no reason to stop
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "plexus-once:", err)
		return exitMisuse
	}
	if opts.version {
		fmt.Fprintln(stdout, version.String("plexus-once"))
		return 0
	}
	conn, err := socket() // before any other descriptor could be the third
	if err != nil {
		fmt.Fprintln(stderr, "plexus-once:", err)
		return exitMisuse
	}
	// Whatever hangs, a file or a plugin, does so no longer than the longest ADD.
	time.AfterFunc(lifetime, func() { os.Exit(1) })
	forgetTuning()
	s := newServer(opts)
	go func() { _, _ = s.source() }() // the way to the API server is made while the request is read
	s.serve(conn)
	endGroup()
	return 0
}

// endGroup ends what a credential plugin that was given up may have left: plexus makes
// this process the leader of a session, in which no other process is.
func endGroup() {
	if unix.Getpgrp() == os.Getpid() {
		signal.Ignore(unix.SIGTERM)
		_ = unix.Kill(0, unix.SIGTERM)
	}
}

// forgetTuning takes out of the environment what plexus has put there for this process
// alone: credential plugins inherit it.
func forgetTuning() {
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT"} {
		_ = os.Unsetenv(name)
	}
}

func parseFlags(args []string, stdout io.Writer) (*options, error) {
	var opts options
	flags := flag.NewFlagSet("plexus-once", flag.ContinueOnError)
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "`file` with the way to the API server; without it, the in-cluster environment")
	flags.StringVar(&opts.manifests, "manifests", "", "`folder` of pods and networks to read instead of an API server")
	flags.StringVar(&opts.stateDir, "state-dir", "", "`folder` of the journal, to publish older records from")
	flags.StringVar(&opts.nodeName, "node-name", "", "`name` of this node in events; the host name if empty")
	flags.StringVar(&opts.devices.Socket, "pod-resources-socket", "", "unix `socket` on which the kubelet says which devices pods have; empty where there is none to ask")
	flags.StringVar(&opts.devices.Checkpoint, "device-checkpoint", "", "`file` in which the kubelet notes devices, by which its file of claims is found, for when it does not answer; empty for none")
	flags.BoolVar(&opts.version, "version", false, "print the version and exit")
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil, err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return &opts, err
}

// socket gives the connection to the plugin.
func socket() (net.Conn, error) {
	file := os.NewFile(socketFD, "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d is not a connected socket: plexus starts this program, people do not (see --help): %w", socketFD, err)
	}
	return conn, nil
}
