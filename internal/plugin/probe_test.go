package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// The test's own executable is the plugin "probe" where the first of these is set. The
// second says what its verbs do, the third what its guard does.
const (
	asProbe    = "PLEXUS_EDGE_TEST_AS_PROBE"
	probeDoes  = "PLEXUS_EDGE_TEST_DOES"
	probeGuard = "PLEXUS_EDGE_TEST_GUARD"
	probeOld   = "PLEXUS_EDGE_TEST_OLD" // it speaks every version
)

func TestMain(m *testing.M) {
	if os.Getenv(asProbe) != "" {
		os.Exit(probe().Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// probe is a plugin that notes on standard error what its edge asks of it.
func probe() *Main {
	m := &Main{Name: "probe", Help: "probe's help\n", Versions: types.CNIVersions, Open: openProbe}
	if os.Getenv(probeOld) != "" {
		m.Versions = types.AllCNIVersions()
	}
	switch os.Getenv(probeGuard) {
	case "done":
		m.Guard = func(string) (bool, error) { return true, nil }
	case "fail":
		m.Guard = func(command string) (bool, error) { return true, types.Errorf(77, "%s is guarded", command) }
	case "pass":
		m.Guard = func(string) (bool, error) { return false, nil }
	}
	return m
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func openProbe(command string, args *skel.CmdArgs) (*Verbs, error) {
	note("open %s, namespace %q", command, args.Netns)
	if os.Getenv(probeDoes) == "refuse" {
		return nil, types.Errorf(types.CodeInvalidConfig, "refused")
	}
	verb := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return act(ctx, name) }
	}
	return &Verbs{
		Add: func(ctx context.Context) (cnitypes.Result, error) {
			_, address, err := net.ParseCIDR("10.0.0.0/24")
			result := &current.Result{CNIVersion: current.ImplementedSpecVersion, IPs: []*current.IPConfig{{Address: *address}}}
			if os.Getenv(probeDoes) == "bare" {
				result = &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: cnitypes.DNS{Nameservers: []string{"192.0.2.53"}}}
			}
			return result, errors.Join(err, act(ctx, "add"))
		},
		Del: verb("del"), Check: verb("check"), GC: verb("gc"), Status: verb("status"),
		Done: func(err error) { note("done: %v", err) },
	}, nil
}

// act is what every verb of the probe does.
func act(ctx context.Context, verb string) error {
	note("verb %s", verb)
	switch os.Getenv(probeDoes) {
	case "fail":
		return types.Errorf(types.CodeTryAgainLater, "not now")
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "settings":
		note("GC %d, memory %d, threads %d", debug.SetGCPercent(-1), debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0))
	}
	return nil
}

// outcome is how a process ended. Failure is the CNI error on its standard output.
type outcome struct {
	stdout, stderr string
	code           int
	failure        struct {
		CNIVersion   string `json:"cniVersion"`
		Code         uint   `json:"code"`
		Msg, Details string
	}
}

// command makes a call of an executable, without what the test's own environment has.
func command(t *testing.T, executable, verb, config string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(executable)
	cmd.Env = append([]string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/none", "CNI_IFNAME=net0", "CNI_PATH=/",
		"GOCOVERDIR=" + t.TempDir(), // a test binary that counts wants one, and says so
	}, env...)
	cmd.Stdin = strings.NewReader(config)
	return cmd
}

// run waits for the end of a process.
func run(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	_ = json.Unmarshal(stdout.Bytes(), &o.failure)
	return o
}

// callProbe makes a call of the probe.
func callProbe(t *testing.T, verb, version string, env ...string) outcome {
	t.Helper()
	return run(t, command(t, os.Args[0], verb, configOf(version), append(env, asProbe+"=1")...))
}

func configOf(version string) string {
	return `{"cniVersion":"` + version + `","name":"n","type":"probe"}`
}
