package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// installNode is the folders that install and uninstall work on.
type installNode struct {
	t   *testing.T
	dir string
}

// newInstallNode makes a node with a default network, and executables to install.
func newInstallNode(t *testing.T) *installNode {
	n := &installNode{t: t, dir: t.TempDir()}
	n.write("net.d/10-cbr0.conf", `{"cniVersion":"1.0.0","name":"cbr0","type":"bridge","capabilities":{"portMappings":true}}`, 0o600)
	for _, path := range []string{"bin/bridge", "from/plexus", "from/plexus-once"} {
		n.write(path, "#!/bin/sh\necho "+filepath.Base(path)+" v1\n", 0o755)
	}
	return n
}

func (n *installNode) path(name string) string { return filepath.Join(n.dir, name) }

func (n *installNode) write(name, content string, mode os.FileMode) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(n.path(name), []byte(content), mode); err != nil {
		n.t.Fatal(err)
	}
}

// run runs a command on the node's folders and gives what it printed.
func (n *installNode) run(command string, args ...string) (stdout, stderr string, err error) {
	n.t.Helper()
	var out, log bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&log)
	root.SetArgs(append([]string{
		command, "--from", n.path("from"), "--bin-dir", n.path("bin"), "--conf-dir", n.path("net.d"), "--cni-dir", n.path("cni"),
	}, args...))
	err = root.ExecuteContext(n.t.Context())
	return out.String(), log.String(), err
}

// files gives the files of the node but those to install.
func (n *installNode) files() []string {
	n.t.Helper()
	found, err := filepath.Glob(n.path("[bn]*/*"))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], n.dir+"/")
	}
	return found
}

func TestInstallAndUninstallCommands(t *testing.T) {
	n := newInstallNode(t)
	bare := []string{"bin/bridge", "net.d/10-cbr0.conf"}
	whole := []string{"bin/bridge", "bin/plexus", "bin/plexus-once", "net.d/00-plexus.conflist", "net.d/10-cbr0.conf"}
	var previewed string
	for _, step := range []struct {
		name    string
		command []string
		files   []string
		stdout  func() string
		stderr  string
	}{
		{"a preview", []string{"install", "--dry-run"}, bare, nil, "would install an executable"},
		{"install", []string{"install"}, whole, func() string { return "" }, "installed the configuration"},
		{"install again", []string{"install", "--log-format", "json"}, whole, func() string { return "" }, `"msg":"configuration is up to date"`},
		{"a preview of uninstall", []string{"uninstall", "--dry-run"}, whole, func() string {
			return "would remove " + n.path("net.d/00-plexus.conflist") + "\nwould remove " + n.path("bin/plexus") + "\nwould remove " + n.path("bin/plexus-once") + "\n"
		}, ""},
		{"uninstall", []string{"uninstall"}, bare, func() string { return "" }, "removed the configuration"},
		{"uninstall again", []string{"uninstall", "--log-level", "error"}, bare, func() string { return "" }, ""},
	} {
		stdout, stderr, err := n.run(step.command[0], step.command[1:]...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.name, err, stderr)
		}
		if diff := cmp.Diff(step.files, n.files()); diff != "" {
			t.Errorf("files after %s (-want +got):\n%s", step.name, diff)
		}
		if step.stdout == nil {
			previewed = stdout
		} else if stdout != step.stdout() {
			t.Errorf("%s prints %q, want %q", step.name, stdout, step.stdout())
		}
		if !strings.Contains(stderr, step.stderr) {
			t.Errorf("%s logs %s, want %q", step.name, stderr, step.stderr)
		}
		if step.name == "install" {
			written, err := os.ReadFile(n.path("net.d/00-plexus.conflist"))
			if err != nil || previewed != string(written) {
				t.Errorf("the preview was %s, written was %s, %v", previewed, written, err)
			}
		}
	}
}

func TestInstallFlagsBecomeKeys(t *testing.T) {
	n := newInstallNode(t)
	t.Setenv("PLEXUS_AGENT_NETWORK_NAME", "outer")
	stdout, stderr, err := n.run("install", "--dry-run", "--kubeconfig", "/etc/kubernetes/kubelet.conf", "--host-conf-dir", "/etc/cni/net.d",
		"--socket", "", "--plugin-log-level", "debug", "--plugin-log-file", "/var/log/plexus.log", "--extra-config", `{"result": "all"}`)
	if err != nil {
		t.Fatal(err, stderr)
	}
	for _, want := range []string{
		`"name": "outer"`, `"clusterNetwork": "/etc/cni/net.d/10-cbr0.conf"`, `"kubeconfig": "/etc/kubernetes/kubelet.conf"`, `"agentSocket": ""`,
		`"binDir": "` + n.path("bin") + `"`, `"cniDir": "` + n.path("cni") + `"`, `"logLevel": "debug"`, `"logFile": "/var/log/plexus.log"`, `"result": "all"`,
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the configuration lacks %s: %s", want, stdout)
		}
	}
}

func TestInstallCommandFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		misuse bool
		want   string
	}{
		{"an argument", []string{"install", "now"}, true, `unexpected argument "now"`},
		{"an unknown key", []string{"install", "--extra-config", `{"zebra": 1}`}, true, "--extra-config: unknown to plexus: zebra"},
		{"a file that is not there", []string{"install", "--extra-config", "/nowhere"}, true, "--extra-config: stat /nowhere"},
		{"a folder that is not absolute", []string{"install", "--bin-dir", "bin"}, true, "--bin-dir: must be an absolute path"},
		{"a way to log", []string{"install", "--log-format", "xml"}, true, "--log-format"},
		{"no default network", []string{"install", "--master", "x", "--timeout", "1ms"}, false, "--timeout: gave up after 1ms"},
		{"an argument of uninstall", []string{"uninstall", "now"}, true, `unexpected argument "now"`},
		{"a way to log of uninstall", []string{"uninstall", "--log-level", "x"}, true, "--log-level"},
		{"a name of uninstall", []string{"uninstall", "--conf-name", "x"}, true, "--conf-name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := newInstallNode(t).run(tc.args[0], tc.args[1:]...)
			var wrong *misuseError
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.As(err, &wrong) != tc.misuse {
				t.Errorf("got %v (misuse %v), want %q (misuse %v)", err, errors.As(err, &wrong), tc.want, tc.misuse)
			}
		})
	}
}

func TestInstallHelpTeaches(t *testing.T) {
	for command, words := range map[string][]string{
		"install":   {"--follow", "--dry-run", "default network", "kubelet.conf"},
		"uninstall": {"--release", "kubectl drain", "DaemonSet"},
	} {
		stdout, _, err := newInstallNode(t).run(command, "--help")
		if err != nil {
			t.Error(err)
		}
		for _, word := range words {
			if !strings.Contains(stdout, word) {
				t.Errorf("the help of %s lacks %q", command, word)
			}
		}
	}
}
