// Command kubectl-plexus says what Plexus attaches to a pod, and what is wrong with it. It
// is a plugin of kubectl, and needs neither kubectl nor a cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"github.com/plexus-cni/plexus/internal/window"
)

// impatience is when a second Ctrl-C ends what does not end by itself. One that comes at once is the first one: timeout
// sends its signal to the command, and to the group of it.
const impatience = time.Second / 2

func main() { os.Exit(run()) }

func run() int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(impatience, stop) })
	klog.SetLogger(logr.Discard()) // client-go logs what it also returns
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return window.Run(ctx, streams, os.Args[1:])
}
