package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// readWith reads settings from a command line, the environment and a file, and gives
// what the flags are then.
func readWith(t *testing.T, args []string, env map[string]string, file string) (map[string]string, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.String(configFlag, "", "")
	flags.String("node-name", "", "")
	flags.String("metrics-address", "127.0.0.1:9729", "")
	flags.Bool("events-for-all-pods", false, "")
	flags.StringSlice("list", nil, "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	for key, value := range env {
		t.Setenv(key, value)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PLEXUS_AGENT_CONFIG", path)
	}
	err := readSettings(flags)
	got := map[string]string{}
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != configFlag && flag.Value.String() != flag.DefValue {
			got[flag.Name] = flag.Value.String()
		}
	})
	return got, err
}

// A flag wins over the environment, and that over the file.
func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		env   map[string]string
		file  string
		want  map[string]string
		fault []string
	}{
		"nothing":       {},
		"a flag":        {args: []string{"--node-name=flag"}, want: map[string]string{"node-name": "flag"}},
		"a variable":    {env: map[string]string{"PLEXUS_AGENT_NODE_NAME": "env"}, want: map[string]string{"node-name": "env"}},
		"of another":    {env: map[string]string{"NODE_NAME": "env", "PLEXUS_AGENT_UNKNOWN": "x"}},
		"a file":        {file: "node-name: file\nevents-for-all-pods: true\n", want: map[string]string{"node-name": "file", "events-for-all-pods": "true"}},
		"a number":      {file: "node-name: 7\n", want: map[string]string{"node-name": "7"}},
		"a list":        {file: "list: [a, b]\n", want: map[string]string{"list": "[a,b]"}},
		"an empty file": {file: "\n"},
		"flag before variable before file": {
			args: []string{"--node-name=flag"},
			env:  map[string]string{"PLEXUS_AGENT_NODE_NAME": "env", "PLEXUS_AGENT_METRICS_ADDRESS": "env:1"},
			file: "node-name: file\nmetrics-address: file:1\nlist: file\n",
			want: map[string]string{"node-name": "flag", "metrics-address": "env:1", "list": "[file]"},
		},
		"a flag that says what is the default": {
			args: []string{"--events-for-all-pods=false"}, env: map[string]string{"PLEXUS_AGENT_EVENTS_FOR_ALL_PODS": "true"},
		},
		"unknown settings":   {file: "nodename: x\nsocket-mode: y\n", fault: []string{"nodename", "socket-mode", "agent.yaml"}},
		"an unknown part":    {file: "node-name: {name: x}\n", fault: []string{"node-name"}},
		"a value of no sort": {env: map[string]string{"PLEXUS_AGENT_EVENTS_FOR_ALL_PODS": "perhaps"}, fault: []string{"events-for-all-pods", "PLEXUS_AGENT_EVENTS_FOR_ALL_PODS", "perhaps"}},
		"no YAML":            {file: "\tnode-name: x", fault: []string{"--config"}},
		"no such file":       {args: []string{"--config=/nowhere/agent.yaml"}, fault: []string{"--config", "/nowhere/agent.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == nil {
				test.want = map[string]string{}
			}
			got, err := readWith(t, test.args, test.env, test.file)
			if (err != nil) != (test.fault != nil) {
				t.Fatalf("got %v, want a fault: %q", err, test.fault)
			}
			for _, word := range test.fault {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" && err == nil {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// --config wins over the variable that names another file.
func TestSettingsFileOfTheFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flag.yaml")
	if err := os.WriteFile(path, []byte("node-name: of-the-flag\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readWith(t, []string{"--config=" + path}, nil, "node-name: of-the-variable\n")
	if err != nil || got["node-name"] != "of-the-flag" {
		t.Errorf("got %v, %v", got, err)
	}
}

// A person is told what is wrong with exit code 2, and nothing is begun.
func TestExitCodes(t *testing.T) {
	for line, want := range map[string]int{
		"":                                      0,
		"--help":                                0,
		"--version":                             0,
		"serve --help":                          0,
		"nonsense":                              exitMisuse,
		"--nonsense":                            exitMisuse,
		"serve --nonsense":                      exitMisuse,
		"serve more":                            exitMisuse,
		"serve":                                 exitMisuse, // no node name
		"serve --node-name":                     exitMisuse,
		"serve --node-name n --log-level loud":  exitMisuse,
		"serve --node-name n --log-format xml":  exitMisuse,
		"serve --node-name n --config /nowhere": exitMisuse,
		"serve --node-name n --events-for-all-pods=7":   exitMisuse,
		"serve --node-name n --socket= --kubeconfig=/n": exitFailed,
		"serve --node-name n --kubeconfig=/dev/null":    exitFailed, // a file, but none of that kind
	} {
		t.Run(line, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			if got := run(strings.Fields(line)); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
		})
	}
}
