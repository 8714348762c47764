package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

const (
	agentNamespace = "plexus-system"
	agentAccount   = "plexus-agent"
	agentPatience  = 30 * time.Second
	agentPause     = 200 * time.Millisecond
	// deploy is seen from the folder of the e2e module, where make bench runs.
	deploy = "../deploy/base"
)

// agent is a plexus-agent of the bench's node, with its figures apart from those of others.
type agent struct {
	cmd     *exec.Cmd
	args    []string // its command line
	socket  string
	metrics string // the URL of its HTTP server
}

// agentKubeconfig gives the credentials of an agent's pod.
func (l *lab) agentKubeconfig(ctx context.Context) (string, error) {
	for _, file := range []string{"namespace.yaml", "rbac.yaml"} {
		if err := l.cluster.ApplyFile(ctx, filepath.Join(deploy, file)); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(l.dir, "agent-pod")
	pod := object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": agentAccount, "namespace": agentNamespace},
		"spec": object{
			"nodeName": nodeName, "serviceAccountName": agentAccount, "automountServiceAccountToken": false,
			"containers": []object{{"name": "c", "image": "localhost/none"}},
		},
	}
	if err := errors.Join(writeYAML(dir, map[string]object{"pod.yaml": pod}), l.apply(ctx, dir)); err != nil {
		return "", err
	}
	made, err := l.cluster.Client().CoreV1().Pods(agentNamespace).Get(ctx, agentAccount, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	token, err := l.cluster.ServiceAccountToken(ctx, agentNamespace, agentAccount, made)
	if err != nil {
		return "", err
	}
	kubeconfig, _, err := l.cluster.TokenKubeconfig(token)
	return kubeconfig, err
}

// startAgent starts an agent without any capability, as its DaemonSet runs it, and returns
// once it is ready.
func (l *lab) startAgent(ctx context.Context, name string) (*agent, error) {
	return l.startAgentOver(ctx, name, strings.TrimPrefix(l.cluster.Server(), "https://"))
}

// startAgentOver starts an agent that reaches the API server over an address.
func (l *lab) startAgentOver(ctx context.Context, name, address string) (*agent, error) {
	kubeconfig, err := l.agentKubeconfig(ctx)
	if err == nil {
		kubeconfig, err = l.kubeconfigOver(kubeconfig, address)
	}
	if err != nil {
		return nil, err
	}
	metrics := fmt.Sprintf("127.0.0.1:%d", 9730+len(l.agents))
	a := &agent{socket: filepath.Join(l.dir, name, "agent.sock"), metrics: "http://" + metrics}
	log, err := os.Create(filepath.Join(l.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	a.args = []string{
		"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--",
		filepath.Join(l.bin, "plexus-agent"), "serve", "--kubeconfig", kubeconfig, "--node-name", nodeName,
		"--socket", a.socket, "--state-dir", filepath.Join(state, "plexus", "plexus"), "--metrics-address", metrics,
	}
	a.cmd = a.again(nil)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	l.agents = append(l.agents, a)
	return a, a.awaitReady(ctx)
}

// again gives the command of the agent, started by the command wrap if there is one.
func (a *agent) again(wrap []string) *exec.Cmd {
	args := slices.Concat(wrap, a.args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}

func (a *agent) awaitReady(ctx context.Context) error {
	return poll.Until(ctx, agentPatience, "the agent to be ready", func(ctx context.Context) error {
		if _, err := a.get(ctx, "/readyz"); err != nil {
			return err
		}
		_, err := os.Stat(a.socket)
		return err
	})
}

// get gives the lines of what the agent answers.
func (a *agent) get(ctx context.Context, path string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.metrics+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var lines []string
	for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, response.Status, strings.Join(lines, "; "))
	}
	return lines, nil
}

// series gives the values of all time series of a name, by their labels.
func (a *agent) series(ctx context.Context, name string) (map[string]float64, error) {
	lines, err := a.get(ctx, "/metrics")
	values := map[string]float64{}
	for _, line := range lines {
		labels, found := strings.CutPrefix(line, name)
		if !found || !strings.HasPrefix(labels, "{") && !strings.HasPrefix(labels, " ") {
			continue
		}
		labels, text, _ := strings.Cut(labels, " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		values[labels] = value
	}
	return values, err
}

// end ends an agent.
func (a *agent) end() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// parts gives the mean time of each phase of an ADD, in milliseconds, as plexus measured them
// and the agent counted them, and how often it came in one call.
func (a *agent) parts(ctx context.Context) ([]part, error) {
	sums, err := a.series(ctx, "plexus_phase_duration_seconds_sum")
	if err != nil {
		return nil, err
	}
	counts, err := a.series(ctx, "plexus_phase_duration_seconds_count")
	if err != nil {
		return nil, err
	}
	var parts []part
	for labels, sum := range sums {
		if label(labels, "verb") != "ADD" || label(labels, "outcome") != "ok" {
			continue
		}
		name := strings.TrimSpace(label(labels, "phase") + " " + label(labels, "plugin"))
		parts = append(parts, part{name: name, total: time.Duration(sum * float64(time.Second)), times: counts[labels]})
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return parts, nil
}

// part is a phase of all calls.
type part struct {
	name  string
	total time.Duration
	times float64
}

// label gives a label's value from `{a="b",c="d"}`; none of ours has a quote in it.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
