package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

var (
	loopback  = netip.MustParseAddr("127.0.0.1")
	serviceIP = netip.MustParseAddr("10.0.0.1") // of the service "kubernetes", the first of the range
)

// auditPolicy records every request once it has come and once it is answered, except those that
// the server sends to itself and those that ask for its health.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:apiserver"]}
- {level: None, nonResourceURLs: ["/readyz*"]}
- {level: Metadata}
`

// writeServerFiles writes what the API server reads from files.
func (c *Cluster) writeServerFiles() error {
	serving, err := c.ca.server("kube-apiserver", c.opts.Address)
	if err != nil {
		return err
	}
	kubelet, err := c.ca.client("kube-apiserver-kubelet-client", []string{adminGroup})
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	tokens, err := keyBlock(key)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"ca.pem":            c.ca.pem,
		"serving.pem":       serving,
		"kubelet.pem":       kubelet,
		"tokens.pem":        tokens,
		"audit-policy.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return fmt.Errorf("write a file of the API server: %w", err)
		}
	}
	return nil
}

func (c *Cluster) etcdArgs() []string {
	client, peer := "http://"+c.etcdPort.String(), "http://"+c.peerPort.String()
	return []string{
		"--name=e2e", "--data-dir=" + c.path("etcd"), "--log-level=warn",
		"--unsafe-no-fsync", // nothing here is to outlive the machine
		"--socket-reuse-port",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=e2e=" + peer,
	}
}

func (c *Cluster) apiArgs() []string {
	addr := c.opts.Address.String()
	return append([]string{
		"--etcd-servers=http://" + c.etcdPort.String(),
		"--bind-address=" + addr, "--advertise-address=" + addr,
		fmt.Sprintf("--secure-port=%d", c.apiPort.Port()), "--permit-port-sharing",
		"--tls-cert-file=" + c.path("serving.pem"), "--tls-private-key-file=" + c.path("serving.pem"),
		"--client-ca-file=" + c.path("ca.pem"),
		"--kubelet-client-certificate=" + c.path("kubelet.pem"), "--kubelet-client-key=" + c.path("kubelet.pem"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("tokens.pem"), "--service-account-signing-key-file=" + c.path("tokens.pem"),
		"--service-cluster-ip-range=" + netip.PrefixFrom(serviceIP, 24).Masked().String(),
		"--authorization-mode=Node,RBAC", "--allow-privileged",
		"--enable-admission-plugins=NodeRestriction",
		"--endpoint-reconciler-type=none", "--profiling=false", "--v=1",
		"--audit-policy-file=" + c.path("audit-policy.yaml"), "--audit-log-path=" + c.path(auditLog),
	}, append(c.admission(), c.opts.APIArgs...)...)
}

// admission leaves out what needs a controller manager.
func (c *Cluster) admission() []string {
	if c.opts.Controllers {
		return nil
	}
	return []string{"--disable-admission-plugins=ServiceAccount"}
}

func (c *Cluster) startServer(name string, args []string) (*proc.Process, error) {
	argv := append([]string{filepath.Join(c.opts.BinDir, name)}, args...)
	return proc.Start(proc.Command{Name: name, Log: c.Log(name), Argv: argv})
}

// StartAPI starts the API server, again after [Cluster.KillAPI], on the same port and with the
// same data, and returns once it is ready.
func (c *Cluster) StartAPI(ctx context.Context) error {
	api, err := c.startAPI()
	if err != nil {
		return err
	}
	err = c.wait(ctx, "the API server to be ready", func(ctx context.Context) (bool, error) {
		for _, p := range []*proc.Process{c.etcd, api} {
			if err := p.ExitError(); err != nil {
				return false, err
			}
		}
		return c.ready(ctx), nil
	})
	if err != nil {
		c.KillAPI()
	}
	return err
}

func (c *Cluster) startAPI() (*proc.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api != nil {
		return nil, fmt.Errorf("start kube-apiserver: it runs already")
	}
	var err error
	c.api, err = c.startServer("kube-apiserver", c.apiArgs())
	return c.api, err
}

func (c *Cluster) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

// KillAPI kills the API server: from now on connections to it are refused.
func (c *Cluster) KillAPI() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.api.Kill()
	c.api, c.paused = nil, false
}

// Pause stops the API server where it is: it accepts connections and answers nothing.
func (c *Cluster) Pause() error {
	return c.setPaused(true, func(api *proc.Process) error { return api.Pause(context.Background()) })
}

// Resume lets a paused API server go on. It then answers what it was asked meanwhile.
func (c *Cluster) Resume() error {
	return c.setPaused(false, func(api *proc.Process) error { return api.Signal(syscall.SIGCONT) })
}

func (c *Cluster) setPaused(paused bool, change func(*proc.Process) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api == nil {
		return errors.New("pause or resume kube-apiserver: it does not run")
	}
	if err := change(c.api); err != nil {
		return err
	}
	c.paused = paused
	return nil
}

// serving reports whether the API server can answer, as far as we let it.
func (c *Cluster) serving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.api != nil && !c.paused
}

const pollInterval = 20 * time.Millisecond

// wait polls condition until it holds or fails, ctx ends or the cluster's time-out is over.
func (c *Cluster) wait(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, pollInterval, c.opts.Timeout, true, condition); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}
