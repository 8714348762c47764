package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Node is a machine of the cluster: processes, network, mounts and a disk of its own. What it
// runs has the usual paths: /etc/cni/net.d, /opt/cni/bin, /var/lib/kubelet, /run/containerd or /run/crio.
type Node struct {
	Name    string
	Index   int // from 1
	cluster *Cluster
	dir     string // its disk
	runtime Runtime

	init    *proc.Process // its first process; without it the node is off
	thread  *proc.Thread  // a thread of ours on the node
	server  *proc.Process // of its runtime
	kubelet *proc.Process
	daemons []*proc.Process // of the cluster network
	pods    netip.Prefix
}

func (c *Cluster) newNode(index int) *Node {
	name := fmt.Sprintf("node%d", index)
	n := &Node{Name: name, Index: index, cluster: c, dir: filepath.Join(c.dir, name), runtime: Containerd}
	if index <= len(c.opts.Runtimes) {
		n.runtime = c.opts.Runtimes[index-1]
	}
	return n
}

// start brings a node up for the first time, as far as it can be without a cluster network.
func (n *Node) start(ctx context.Context) error {
	if err := n.boot(); err != nil {
		return err
	}
	if err := n.copyPlugins(); err != nil {
		return err
	}
	if err := n.StartRuntime(ctx); err != nil {
		return err
	}
	if err := n.importImages(ctx); err != nil {
		return err
	}
	if err := n.StartKubelet(); err != nil {
		return err
	}
	return n.awaitRegistered(ctx)
}

// boot starts the node's machine, without any service.
func (n *Node) boot() error {
	if err := makeDirs(n.dir); err != nil {
		return err
	}
	if err := makeCgroups(cgroupOf(n.Name)); err != nil {
		return err
	}
	if err := n.startInit(); err != nil {
		return err
	}
	var err error
	if n.thread, err = proc.NewThread(n.enter); err != nil {
		return fmt.Errorf("enter %s: %w", n.Name, err)
	}
	if err := n.wire(); err != nil {
		return err
	}
	return n.WriteFile("/proc/sys/net/ipv4/ip_forward", "1")
}

// startInit starts the node's first process and waits until it has made the machine.
func (n *Node) startInit() error {
	spec, err := json.Marshal(machine{Hostname: n.Name, Dir: n.dir})
	if err != nil {
		return err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	n.init, err = proc.Start(proc.Command{
		Name: n.Name, Log: n.Log("init"), Argv: []string{"/proc/self/exe"}, Files: []*os.File{theirs},
		Env: append(os.Environ(), initVar+"="+string(spec)),
		Attr: func(a *syscall.SysProcAttr) {
			a.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
		},
	})
	_ = theirs.Close()
	if err != nil {
		return err
	}
	said, err := io.ReadAll(ready)
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	if err != nil {
		return fmt.Errorf("make the machine: %w", err)
	}
	return n.init.ExitError()
}

// enter moves the calling thread, and what it starts, onto the node.
func (n *Node) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // a thread that shares its root cannot change mounts
		return err
	}
	kinds := []struct {
		name string
		flag int
	}{{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}}
	for _, kind := range kinds {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", n.init.PID(), kind.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open its namespace %s: %w", kind.name, err)
		}
		err = unix.Setns(fd, kind.flag)
		_ = unix.Close(fd)
		if err != nil {
			return fmt.Errorf("enter its namespace %s: %w", kind.name, err)
		}
	}
	return nil
}

// PowerOff takes the node's power away: nothing on it can do anything more. Its disk stays.
func (n *Node) PowerOff() {
	n.thread.End()
	n.init.Kill()
	n.server.Kill()
	n.kubelet.Kill()
	for _, p := range n.daemons {
		p.Kill()
	}
	n.server, n.kubelet, n.daemons = nil, nil, nil
}

// Reboot takes the node's power away and boots it, with its services, as after a power cut: all
// namespaces are gone, /run is empty, the disk is as it was. It does not wait for pods.
func (n *Node) Reboot(ctx context.Context) error {
	n.PowerOff()
	if err := await(ctx, "the control groups of "+n.Name+" to be empty", func(context.Context) error {
		return removeCgroups(cgroupOf(n.Name))
	}); err != nil {
		return err
	}
	if err := n.boot(); err != nil {
		return err
	}
	if err := n.cluster.opts.Master.Boot(ctx, n); err != nil {
		return err
	}
	if err := n.StartRuntime(ctx); err != nil {
		return err
	}
	return n.StartKubelet()
}

// PID is that of the node's first process. Its namespaces are the node's.
func (n *Node) PID() int { return n.init.PID() }

// Cluster is the cluster that the node is of.
func (n *Node) Cluster() *Cluster { return n.cluster }

// Do runs f on the node: in its network, and with its files.
func (n *Node) Do(f func() error) error { return n.thread.Do(f) }

// Run runs a command on the node and gives what it printed.
func (n *Node) Run(name string, args ...string) (string, error) {
	out, err := n.thread.Run(name, args...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", n.Name, err)
	}
	return out, nil
}

// KillProcess kills the processes of the node, containers' too, with this command line. None is an
// error.
func (n *Node) KillProcess(commandLine string) error {
	_, err := n.Run("pkill", "-KILL", "-x", "-f", commandLine)
	return err
}

// startDaemon starts a server on the node, whose log is on the outside. It ends with the node.
func (n *Node) startDaemon(name string, env []string, argv ...string) (*proc.Process, error) {
	return n.thread.Start(proc.Command{
		Name: name + " of " + n.Name, Log: n.Log(name), Argv: argv, Env: append(os.Environ(), env...),
		// It ends with the node's first process. The signal would come at once: a process sees no
		// parent in another PID namespace, and takes it for dead.
		Attr: func(a *syscall.SysProcAttr) { a.Pdeathsig = 0 },
	})
}

// StartDaemon starts a server of the cluster network on the node. It ends with the node.
func (n *Node) StartDaemon(name string, env []string, argv ...string) (*proc.Process, error) {
	p, err := n.startDaemon(name, env, argv...)
	if err == nil {
		n.daemons = append(n.daemons, p)
	}
	return p, err
}

// AwaitDaemon waits until condition gives no error, or the server has ended.
func (n *Node) AwaitDaemon(ctx context.Context, p *proc.Process, what string, condition func() error) error {
	return await(ctx, what+" on "+n.Name, func(context.Context) error {
		if err := p.ExitError(); err != nil {
			return poll.Stop(err)
		}
		return condition()
	})
}

// Log is the path, on the outside, of the log of one of the node's servers.
func (n *Node) Log(server string) string {
	return filepath.Join(n.cluster.dir, n.Name+"-"+server+".log")
}

// WriteFile writes a file of the node, with its folder.
func (n *Node) WriteFile(path, text string) error {
	return n.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o600)
	})
}

// ReadFile reads a file of the node.
func (n *Node) ReadFile(path string) (text string, err error) {
	err = n.Do(func() error {
		data, err := os.ReadFile(path)
		text = string(data)
		return err
	})
	return text, err
}

// Glob gives the paths on the node that match a pattern.
func (n *Node) Glob(pattern string) (paths []string) {
	_ = n.Do(func() (err error) {
		paths, err = filepath.Glob(pattern)
		return err
	})
	return paths
}

// IP is the node's address.
func (n *Node) IP() netip.Addr { return host(nodeNetwork, 10+n.Index) }

// podCIDR is the network of the node's pods, which the controller manager gave it.
func (n *Node) podCIDR() netip.Prefix { return n.pods }

func (n *Node) get(ctx context.Context) (*corev1.Node, error) {
	return n.cluster.Client().CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
}

// awaitRegistered waits until the kubelet has made the node's object and it has a network.
func (n *Node) awaitRegistered(ctx context.Context) error {
	return await(ctx, "the kubelet to register "+n.Name, func(ctx context.Context) error {
		if err := n.kubelet.ExitError(); err != nil {
			return poll.Stop(err)
		}
		node, err := n.get(ctx)
		if err != nil {
			return err
		}
		n.pods, err = netip.ParsePrefix(node.Spec.PodCIDR)
		return err
	})
}

// awaitReady waits until the node takes pods.
func (n *Node) awaitReady(ctx context.Context) error {
	return await(ctx, n.Name+" to be ready", func(ctx context.Context) error {
		node, err := n.get(ctx)
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
				return errors.New(condition.Message)
			}
		}
		for _, taint := range node.Spec.Taints {
			if taint.Key == corev1.TaintNodeNotReady {
				return errors.New("it is tainted " + taint.Key)
			}
		}
		return nil
	})
}
