package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

const (
	// secrets is where a pod finds its credentials, which the daemon reads there.
	secrets = "/run/secrets"
	// patience is how long the daemon may take to be ready.
	patience = 30 * time.Second
)

// Daemon is a running multus-daemon.
type Daemon struct {
	*proc.Process
	m    *Multus
	run  proc.Command
	made bool // the folder that credentials are mounted over
}

// StartDaemon starts the thick Multus and returns once it has written the node's configuration.
// It mounts a pod's credentials, so the caller needs a mount namespace of its own.
func (m *Multus) StartDaemon(ctx context.Context) (_ *Daemon, retErr error) {
	config, err := m.daemonConfig()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(m.Dir, "daemon-config.json")
	if err := errors.Join(write(path, config), write(filepath.Join(m.netDir(), "10-pods.conflist"), m.Network)); err != nil {
		return nil, err
	}
	d := &Daemon{m: m}
	defer func() {
		if retErr != nil {
			d.End()
		}
	}()
	if err := d.mountCredentials(); err != nil {
		return nil, err
	}
	server, err := url.Parse(m.Access.Server())
	if err != nil {
		return nil, err
	}
	d.run = proc.Command{
		Name: "multus-daemon", Log: m.Log(), Argv: []string{filepath.Join(m.BinDir, "multus-daemon"), "-config", path},
		Env: append(os.Environ(), "MULTUS_NODE_NAME="+m.Node, "KUBERNETES_SERVICE_HOST="+server.Hostname(), "KUBERNETES_SERVICE_PORT="+server.Port()),
	}
	return d, d.Restart(ctx)
}

// Restart starts a daemon that does not run any more, by the command wrap if there is one, and
// returns once it is ready.
func (d *Daemon) Restart(ctx context.Context, wrap ...string) (err error) {
	run := d.run
	run.Argv = slices.Concat(wrap, run.Argv)
	if d.Process, err = proc.Start(run); err != nil {
		return err
	}
	return d.awaitReady(ctx)
}

// Log is the daemon's.
func (m *Multus) Log() string { return filepath.Join(m.Dir, "multus-daemon.log") }

// mountCredentials puts the token where the kubelet mounts that of a pod.
func (d *Daemon) mountCredentials() error {
	config, err := kube.RESTConfig(d.m.kubeconfig)
	if err != nil {
		return err
	}
	if _, err := os.Stat(secrets); errors.Is(err, fs.ErrNotExist) {
		d.made = true
	}
	if err := os.MkdirAll(secrets, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("none", secrets, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", secrets, err)
	}
	dir := filepath.Join(secrets, "kubernetes.io", "serviceaccount")
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "token"), []byte(d.m.token), 0o600),
		os.WriteFile(filepath.Join(dir, "ca.crt"), config.CAData, 0o600),
	)
}

// awaitReady waits for the socket and for the configuration that the daemon writes last.
func (d *Daemon) awaitReady(ctx context.Context) error {
	return poll.Until(ctx, patience, "multus-daemon to be ready", func(context.Context) error {
		if err := d.ExitError(); err != nil {
			return poll.Stop(err)
		}
		conn, err := net.Dial("unix", filepath.Join(d.m.socketDir(), "multus.sock"))
		if err == nil {
			_ = conn.Close()
			_, err = d.Conf()
		}
		return err
	})
}

// Conf gives the plugin's configuration that the daemon has written: it names the file of the
// cluster's network.
func (d *Daemon) Conf() (Conf, error) {
	data, err := os.ReadFile(filepath.Join(d.m.netDir(), "00-multus.conf"))
	if err != nil {
		return nil, err
	}
	conf := Conf{}
	return conf, json.Unmarshal(data, &conf)
}

// Delegating gives a configuration that holds the cluster's network itself, in place of the name
// of a file. With the file, DEL of v4.2.3 fails for that network and leaks its address.
func (d *Daemon) Delegating() (Conf, error) {
	conf, err := d.Conf()
	delete(conf, "clusterNetwork")
	if conf != nil {
		conf["delegates"] = []Conf{d.m.Network}
	}
	return conf, err
}

// End kills the daemon and takes its credentials away.
func (d *Daemon) End() {
	if d.Process != nil {
		d.Kill()
	}
	_ = unix.Unmount(secrets, unix.MNT_DETACH)
	if d.made {
		_ = os.Remove(secrets)
	}
}
