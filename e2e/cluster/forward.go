package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

// publish makes the API server reachable from the machine, on a port of its loopback, and writes the
// kubeconfig for that. The keeper's own network has no way out.
func (o *options) publish(server, admin string) error {
	listener, err := listenOutside()
	if err != nil {
		return fmt.Errorf("open a port for the API server: %w", err)
	}
	go forward(listener, server)
	config, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		return err
	}
	for _, c := range config.Clusters {
		c.Server = "https://" + listener.Addr().String()
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil { // it holds the credentials, not their files
		return err
	}
	return clientcmd.WriteToFile(*config, o.path(kubeconfig))
}

// listenOutside listens on the loopback of the parent's network: the machine's.
func listenOutside() (l net.Listener, err error) {
	outside, err := proc.NewThread(func() error {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Setns(fd, unix.CLONE_NEWNET)
	})
	if err != nil {
		return nil, err
	}
	defer outside.End()
	err = outside.Do(func() (err error) {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	return l, err
}

// forward passes connections on, until the process ends.
func forward(l net.Listener, to string) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go pass(conn.(*net.TCPConn), to)
		}
	}
}

func pass(from *net.TCPConn, to string) {
	defer from.Close()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer conn.Close()
	server := conn.(*net.TCPConn)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(from, server)
		_ = from.CloseWrite()
	}()
	_, _ = io.Copy(server, from)
	_ = server.CloseWrite()
	<-answered
}

// putKubectl puts kubectl beside the kubeconfig, in a folder for PATH.
func (o *options) putKubectl(tool string) error {
	if err := os.MkdirAll(o.path(binDir), 0o755); err != nil {
		return err
	}
	return os.Symlink(tool, filepath.Join(o.path(binDir), "kubectl"))
}
