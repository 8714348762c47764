package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// outVar names the folder for what failed scenarios saw.
const outVar = "PLEXUS_E2E_OUT"

// collect keeps what the cluster says now: the servers' logs, the nodes' networks, journals and
// agents, the objects and events. It prints the folder.
func (c *Cluster) collect(name string) error {
	out := os.Getenv(outVar)
	if out == "" {
		out = filepath.Join(repository(), "out", "e2e")
	}
	dir := filepath.Join(out, strings.ReplaceAll(name, "/", "-"))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "what the cluster says is kept in", dir)
	var errs []error
	logs, _ := filepath.Glob(filepath.Join(c.dir, "*.log"))
	if c.Cluster != nil {
		for _, server := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			logs = append(logs, c.Log(server))
		}
		errs = append(errs, c.collectObjects(dir))
	}
	for _, log := range logs {
		errs = append(errs, copyText(log, dir))
	}
	for _, n := range c.nodes {
		errs = append(errs, n.collect(dir))
	}
	return errors.Join(errs...)
}

func (c *Cluster) collectObjects(dir string) error {
	var errs []error
	for file, args := range map[string][]string{
		"events.txt":   {"get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp", "--output=wide"},
		"pods.yaml":    {"get", "pods", "--all-namespaces", "--output=yaml"},
		"nodes.yaml":   {"get", "nodes", "--output=yaml"},
		"objects.yaml": {"get", "daemonsets,network-attachment-definitions", "--all-namespaces", "--output=yaml"},
	} {
		text, err := c.Kubectl(append(args, "--request-timeout=10s")...)
		if err != nil {
			text += err.Error()
		}
		errs = append(errs, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	}
	return errors.Join(errs...)
}

// nodeState is what a node is asked for, by the file that it goes to.
const nodeState = `ip -details address; echo; ip route; echo; ip neighbour; echo; iptables-save; echo
for f in /etc/cni/net.d/* ` + JournalDir + `/*.jsonl /var/lib/cni/networks/*/*; do [ -f "$f" ] && echo "==== $f" && cat "$f" && echo; done
for f in /var/log/pods/*/*/*.log; do [ -f "$f" ] && echo "==== $f" && tail -c 20000 "$f"; done; ps -ef`

func (n *Node) collect(dir string) error {
	if n.thread == nil {
		return nil
	}
	text, err := n.Run("sh", "-c", nodeState)
	if err != nil {
		text += err.Error()
	}
	pods := ""
	if n.runtime.socket != "" {
		pods, err = n.CRI("pods")
	}
	if err != nil {
		pods += err.Error()
	}
	return os.WriteFile(filepath.Join(dir, n.Name+"-state.txt"), []byte(text+"\n"+pods), 0o600)
}

func copyText(file, dir string) error {
	out, err := exec.Command("cp", file, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", file, err, out)
	}
	return nil
}
