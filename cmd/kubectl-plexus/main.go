// Command kubectl-plexus says what Plexus attaches to a pod, and what is wrong with it. It
// is a plugin of kubectl, and needs neither kubectl nor a cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"github.com/plexus-cni/plexus/internal/window"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second Ctrl-C ends what does not end by itself
	klog.SetLogger(logr.Discard()) // client-go logs what it also returns
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return window.Run(ctx, streams, os.Args[1:])
}
