package ipam

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// script notes its environment and its configuration, and then does what the test says.
const script = `#!/bin/sh
{ printf '%s|%s|%s|%s|%s|%s|' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "$CNI_ARGS" "$CNI_PATH"; cat; } >"${0%/*}/call"
`

const (
	config  = `{"cniVersion":"1.1.0","name":"n","ipam":{"type":"manager"}}`
	address = `echo '{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}'`
)

// newPlugin gives a plugin that is a script, with a folder of CNI_PATH before its own.
func newPlugin(t *testing.T, body string) (p *Plugin, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manager"), []byte(script+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Plugin{
		Name: "manager", Path: []string{"/none", dir}, Config: []byte(config),
		Args: invoke.Args{ContainerID: "c1", NetNS: "/run/netns/a", IfName: "net0", PluginArgsStr: "A=b"},
	}, dir
}

// verbs runs each verb; only ADD has a result.
func verbs(p *Plugin) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"ADD": func(ctx context.Context) error { _, err := p.Add(ctx); return err },
		"DEL": p.Del, "CHECK": p.Check, "GC": p.GC, "STATUS": p.Status,
	}
}

// The sandbox is the one that is asked for, not that of this process.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"} {
		t.Setenv(name, "of this process")
	}
	p, dir := newPlugin(t, address)
	for command, verb := range verbs(p) {
		if err := verb(t.Context()); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "call"))
		want := command + "|c1|/run/netns/a|net0|A=b|/none:" + dir + "|" + config
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", command, err, diff)
		}
	}
}

func TestAdd(t *testing.T) {
	p, _ := newPlugin(t, address)
	result, err := p.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(result.IPs) != 1 || result.IPs[0].Address.String() != "10.0.0.2/24" {
		t.Errorf("got %v", result)
	}
}

func TestWithoutPlugin(t *testing.T) {
	p := &Plugin{}
	for command, verb := range verbs(p) {
		if err := verb(t.Context()); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
	result, err := p.Add(t.Context())
	if err != nil || result.CNIVersion != "1.1.0" || len(result.IPs) > 0 {
		t.Errorf("ADD: %v, %v", result, err)
	}
	if err := p.Find(); err != nil {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	p, dir := newPlugin(t, address)
	if err := p.Find(); err != nil {
		t.Error(err)
	}
	p.Name = "nobody"
	all := verbs(p)
	all["Find"] = func(context.Context) error { return p.Find() }
	for command, verb := range all {
		err := verb(t.Context())
		if !errors.Is(err, ErrMissing) || types.CodeOf(err, 0) != types.CodeInvalidConfig {
			t.Errorf("%s: %v", command, err)
			continue
		}
		if diff := cmp.Diff("ipam.type: IPAM plugin nobody is not in CNI_PATH (/none:"+dir+")", err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		code uint // 0 for none
		says string
	}{
		"with a code":    {`echo '{"cniVersion":"1.0.0","code":77,"msg":"no addresses","details":"all taken"}'; exit 1`, 77, "no addresses; all taken"},
		"without a code": {`echo '{"msg":"no addresses"}'; exit 1`, 0, "no addresses"},
		"on stderr":      {`echo broken >&2; exit 1`, 0, "broken"},
	} {
		p, _ := newPlugin(t, tc.body)
		for command, verb := range verbs(p) {
			err := verb(t.Context())
			var answer *cnitypes.Error
			if !errors.As(err, &answer) || types.CodeOf(err, 0) != tc.code {
				t.Errorf("%s, %s: %v with code %d", name, command, err, types.CodeOf(err, 0))
				continue
			}
			if !strings.HasPrefix(err.Error(), "IPAM plugin manager ("+command+"): ") || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s, %s: %v", name, command, err)
			}
		}
	}
}

func TestAddWithoutAddress(t *testing.T) {
	for answer, says := range map[string]string{
		`{"cniVersion":"1.0.0"}`: "IPAM plugin manager (ADD): it gave no address",
		`{}`:                     "IPAM plugin manager (ADD): it gave no address",
		`{"cniVersion":"1.0.0","ips":[{"address":"10."}]}`: "IPAM plugin manager (ADD): ",
		`nonsense`: "IPAM plugin manager (ADD): ",
	} {
		p, _ := newPlugin(t, "echo '"+answer+"'")
		result, err := p.Add(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), says) || result != nil {
			t.Errorf("%s: %v, %v", answer, result, err)
		}
	}
}
