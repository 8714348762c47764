package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

// Options say what to start, and where.
type Options struct {
	// BinDir is the folder with the executables etcd and kube-apiserver. Required.
	BinDir string
	// Dir is the folder in which the cluster makes a folder for its state; the system's folder
	// for temporary files if empty.
	Dir string
	// Address is the IPv4 address to listen on, 127.0.0.1 if it is not set. It must be an
	// address of this machine; etcd listens on loopback whatever it is.
	Address netip.Addr
	// Port is that of the API server, a free one if it is 0.
	Port uint16
	// Controllers says that a controller manager will run: pods then need a ServiceAccount.
	Controllers bool
	// APIArgs are further arguments of kube-apiserver.
	APIArgs []string
	// Timeout bounds every wait for the servers, a minute if it is zero.
	Timeout time.Duration
}

func (o *Options) complete() error {
	if o.BinDir == "" {
		return errors.New("start a control plane: no folder of executables is given (run e2e/tools/build kube)")
	}
	if !o.Address.IsValid() {
		o.Address = loopback
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	return nil
}

// Cluster is a running control plane. Its methods may be used by several goroutines, but those
// that change the API server's life (Pause, Resume, KillAPI, StartAPI, Stop) by one at a time.
type Cluster struct {
	*Access
	opts   Options
	dir    string
	ca     *authority
	client kubernetes.Interface
	dyn    dynamic.Interface

	etcdPort, peerPort, apiPort *port
	etcd                        *proc.Process

	mu      sync.Mutex    // guards what follows
	api     *proc.Process // nil unless it runs
	paused  bool
	proxies []*Proxy

	controllers []*proc.Process
}

// Start starts etcd and kube-apiserver and returns once they are ready. When it fails, or ctx
// ends before that, nothing of them is left; the nil Cluster can be stopped all the same.
func Start(ctx context.Context, opts Options) (_ *Cluster, retErr error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, c.Stop())
		}
	}()
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	var err error
	if c.etcd, err = c.startServer("etcd", c.etcdArgs()); err != nil {
		return nil, err
	}
	if err := c.StartAPI(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// prepare makes the folder, the ports and the files that the servers need.
func (c *Cluster) prepare() (err error) {
	if c.dir, err = os.MkdirTemp(c.opts.Dir, "plexus-kube-"); err != nil {
		return fmt.Errorf("make a folder for the control plane: %w", err)
	}
	for _, p := range []struct {
		port **port
		addr netip.AddrPort
	}{
		{&c.etcdPort, netip.AddrPortFrom(loopback, 0)},
		{&c.peerPort, netip.AddrPortFrom(loopback, 0)},
		{&c.apiPort, netip.AddrPortFrom(c.opts.Address, c.opts.Port)},
	} {
		if *p.port, err = reservePort(p.addr); err != nil {
			return err
		}
	}
	if c.ca, err = newAuthority(); err != nil {
		return err
	}
	c.Access, err = newAccess(c.ca, "https://"+c.apiPort.String(), c.dir)
	if err != nil {
		return err
	}
	return c.writeServerFiles()
}

// connect makes the tests' own clients, which need no server yet.
func (c *Cluster) connect() error {
	config, err := RESTConfig(c.AdminKubeconfig())
	if err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if c.dyn, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("make a dynamic client: %w", err)
	}
	return nil
}

// Stop ends the proxies, the API server and then etcd, and removes their state. They are killed:
// there is nothing to save, and an orderly end waits for every open watch. Stopping a stopped or
// a nil Cluster does nothing.
func (c *Cluster) Stop() error {
	if c == nil || c.dir == "" {
		return nil
	}
	c.mu.Lock()
	proxies, controllers := c.proxies, c.controllers
	c.proxies, c.controllers = nil, nil
	c.mu.Unlock()
	var errs []error
	for _, p := range proxies {
		errs = append(errs, p.Close())
	}
	for _, p := range controllers {
		p.Kill()
	}
	c.KillAPI()
	c.etcd.Kill()
	c.apiPort.release()
	c.etcdPort.release()
	c.peerPort.release()
	if err := os.RemoveAll(c.dir); err != nil {
		errs = append(errs, fmt.Errorf("remove the control plane's state: %w", err))
	}
	c.dir = ""
	return errors.Join(errs...)
}

// Client is an administrator's client, for the tests' own set-up. It goes past every proxy.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Dynamic is like Client, for objects without a Go type.
func (c *Cluster) Dynamic() dynamic.Interface { return c.dyn }

// Log is the path of a server's log, by the server's name: "etcd", "kube-apiserver".
func (c *Cluster) Log(server string) string { return c.path(server + ".log") }

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }
