package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asPlugin makes the test's own executable the plugin.
const asPlugin = "PLEXUS_SRIOV_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// runPlugin runs it as a runtime, or a person, does.
func runPlugin(t *testing.T, stdin string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append([]string{asPlugin + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	cmd.Env = append(cmd.Env, "GOCOVERDIR="+t.TempDir()) // a test binary that counts wants one, and says so
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		arg, out, said string
		code           int
	}{
		{"--version", "plexus-sriov ", "", 0},
		{"--help", "plexus-sriov is a CNI plugin", "", 0},
		{"ADD", "", `unknown argument "ADD"`, 2},
	} {
		stdout, stderr, code := runPlugin(t, "", nil, tc.arg)
		if !strings.HasPrefix(stdout, tc.out) || !strings.Contains(stderr, tc.said) || code != tc.code {
			t.Errorf("%s: %q, %q, exit code %d", tc.arg, stdout, stderr, code)
		}
	}
}

func TestCalls(t *testing.T) {
	dir := t.TempDir()
	conf := func(more string) string {
		return `{"cniVersion":"1.1.0","name":"n","type":"plexus-sriov","stateDir":"` + filepath.Join(dir, "state") + `"` + more + `}`
	}
	for _, tc := range []struct {
		name, command, conf, netns string
		code                       uint // of the CNI error, 0 for success
		says                       []string
	}{
		{"VERSION", "VERSION", conf(""), "", 0, nil},
		{"STATUS", "STATUS", conf(""), "", 0, nil},
		{"STATUS with a fault", "STATUS", conf(`,"vlan":-1`), "", 50, []string{"vlan:"}},
		{"GC", "GC", conf(`,"cni.dev/valid-attachments":[]`), "", 0, nil},
		{"GC without a list", "GC", conf(""), "", 7, []string{"cni.dev/valid-attachments"}},
		{"DEL of nothing", "DEL", conf(""), "", 0, nil},
		{"DEL with a fault", "DEL", conf(`,"vlan":-1`), "/none", 0, nil},
		{"DEL of the host", "DEL", conf(""), "/proc/self/ns/net", 0, nil},
		{"ADD into the host", "ADD", conf(`,"deviceID":"x"`), "/proc/self/ns/net", 4, []string{"the host's own"}},
		{"ADD with faults", "ADD", conf(`,"vlan":-1,"trust":"x"`), "/none", 7, []string{"vlan:", "trust:"}},
		{"ADD of nothing", "ADD", conf(""), "/none", 7, []string{"deviceID: is missing"}},
		{"ADD of what is not there", "ADD", conf(`,"deviceID":"0000:ff:1f.7"`), "/none", 7, []string{"0000:ff:1f.7", "there is no such device"}},
		{"CHECK of nothing", "CHECK", conf(`,"deviceID":"x","prevResult":{"cniVersion":"1.1.0"}`), "/none", 3, []string{"container c1"}},
		{"CHECK with a fault", "CHECK", conf(`,"deviceID":1`), "/none", 7, []string{"deviceID"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stdout, stderr, code := runPlugin(t, tc.conf, []string{
				"CNI_COMMAND=" + tc.command, "CNI_CONTAINERID=c1", "CNI_NETNS=" + tc.netns, "CNI_IFNAME=net0", "CNI_PATH=" + dir,
			})
			var failure struct {
				Code uint   `json:"code"`
				Msg  string `json:"msg"`
			}
			_ = json.Unmarshal([]byte(stdout), &failure)
			if failure.Code != tc.code || (code != 0) != (tc.code != 0) {
				t.Errorf("exit code %d, code %d, want %d: %s%s", code, failure.Code, tc.code, stdout, stderr)
			}
			for _, word := range tc.says {
				if !strings.Contains(failure.Msg, word) || !strings.Contains(stderr, word) {
					t.Errorf("%q, or the log %q, does not say %q", failure.Msg, stderr, word)
				}
			}
		})
	}
}

func TestLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	conf := func(level string) string {
		return `{"cniVersion":"1.1.0","name":"n","stateDir":"` + t.TempDir() + `","logLevel":"` + level + `","logFile":"` + file + `"}`
	}
	for _, level := range []string{"panic", "error", "warning", "info", "debug"} {
		if _, stderr, code := runPlugin(t, conf(level), []string{"CNI_COMMAND=STATUS", "CNI_PATH=/"}); code != 0 || stderr != "" {
			t.Errorf("%s: %d, %q", level, code, stderr)
		}
	}
	data, err := os.ReadFile(file)
	if lines := strings.Count(string(data), "\n"); err != nil || lines != 1 {
		t.Errorf("%v: %d lines: %s", err, lines, data)
	}
}

// A misspelt key is only a warning, which names the key that was meant.
func TestUnknownKeys(t *testing.T) {
	known := `"cniVersion":"1.1.0","name":"n","type":"plexus-sriov","capabilities":{"mac":true},"PCIBusID":"x","Vlan":5,"stateDir":"` + t.TempDir() + `"`
	for _, tc := range []struct{ level, more, want string }{
		{"warning", "", ""},
		{"warning", `,"max-tx-rate":5`, `key="max-tx-rate (the nearest known key is max_tx_rate)"`},
		{"warning", `,"vlan_id":5`, `key="vlan_id (the nearest known key is vlan)"`},
		{"warning", `,"spoofCheck":"on"`, `key="spoofCheck (the nearest known key is spoofchk)"`},
		{"warning", `,"zebra":null`, `key=zebra`},
		{"error", `,"zebra":1`, ""},
	} {
		stdout, stderr, code := runPlugin(t, "{"+known+`,"logLevel":"`+tc.level+`"`+tc.more+"}", []string{"CNI_COMMAND=STATUS", "CNI_PATH=/"})
		if code != 0 || stdout != "" {
			t.Errorf("%s: exit code %d: %s", tc.more, code, stdout)
		}
		if tc.want == "" && stderr != "" || !strings.Contains(stderr, tc.want) || tc.want != "" && !strings.Contains(stderr, `msg="configuration of plexus-sriov: unknown, ignored" network=n key=`) {
			t.Errorf("%s: the log has %q, want %q", tc.more, stderr, tc.want)
		}
	}
}
