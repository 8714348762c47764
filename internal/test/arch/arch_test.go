// Package arch holds the shape of the repository by tests: which package may link
// which other, and that the documents name what is there.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/plexus-cni/plexus"

// pkg is what `go list -deps -json` says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	GoFiles    []string // without tests
	Deps       []string // all that it links
}

// ours gives a package's path below the module, and whether it is one of ours.
func ours(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

// rule holds the packages at or below a folder.
type rule struct {
	folder string
	alone  bool     // of these the one at the folder
	ours   []string // the folders of our packages that may be linked; its own always may
	any    bool     // any of our packages may be
	never  []string // what may not be linked: a path, what is below it, or "*word*" anywhere in a path
	std    bool     // nothing but the standard library and ours
}

// rules are those of docs/architecture.md. Whatever is not under cmd or internal has
// one: only those two tie the others together.
var rules = []rule{
	{folder: "types", std: true, never: []string{"log", "net/http"}},
	// The ground floor: everybody links it.
	{folder: "internal/host", never: slices.Concat(kubernetes, ovsdb, []string{"github.com/containernetworking", "github.com/vishvananda", "log", "net/http"})},
	{folder: "sriov", ours: []string{"types", "internal/host"}, never: slices.Concat(kubernetes, []string{"net/http"})},
	// plexus links sriov, and plexus-sriov both: each starts for every pod. docs/architecture.md
	// says what the library sriovnet, which links net/http, would cost them.
	{folder: "sriov/pf", ours: []string{"types", "sriov", "internal/host"}},
	// All three plugins link their edge: what it links costs each of them.
	{folder: "internal/plugin", ours: []string{"types", "sriov", "internal/host", "internal/version"}, never: kubernetes},
	{folder: "internal/plugin/vf", any: true, never: slices.Concat(ovsdb, []string{"net/http"})},
	{folder: "cmd/plexus-sriov", any: true, never: slices.Concat(kubernetes, []string{
		"net/http", module + "/delegate", module + "/k8sclient", "*yaml*", "github.com/spf13", "google.golang.org/grpc", "go.opentelemetry.io", "*protobuf*",
	})},
	{folder: "delegate", ours: []string{"types", "internal/host"}, never: slices.Concat(kubernetes, ovsdb)},
	// Planning reads through plan.Node alone, so that it can be of another node.
	{folder: "delegate/plan", ours: []string{"types"}, never: []string{"github.com/vishvananda", "golang.org/x/sys/unix"}},
	{folder: "delegate/journal", ours: []string{"types", "internal/host"}, never: []string{"github.com/containernetworking", "github.com/vishvananda"}},
	{folder: "examples", std: true},
	// Files alone, of any machine: no node, no cluster.
	{folder: "internal/validate", ours: []string{"internal/style", "types", "delegate/plan"}, never: slices.Concat(kubernetes, ovsdb, []string{
		"github.com/vishvananda", "golang.org/x/sys/unix", "net/http", "github.com/spf13",
	})},
	// What explains a plan is a function of it: it asks nobody.
	{folder: "internal/explain", ours: []string{"internal/style", "types"}, never: slices.Concat(kubernetes, ovsdb, []string{"github.com/vishvananda", "net/http"})},
	// The commands ask, and plan. Only gc and release change something: they link delegate, and release.
	{folder: "internal/window", ours: []string{"types", "delegate", "k8sclient", "internal/confdir", "internal/engine", "internal/source", "internal/rpc", "internal/agent/status", "internal/explain", "internal/validate", "internal/inspect", "internal/style", "internal/windowpod", "internal/host", "internal/version", "sriov"}, never: ovsdb},
	{folder: "internal/style", std: true},
	// It reads no node itself: what runs in the pod does.
	{folder: "internal/windowpod", ours: []string{"internal/inspect", "internal/style"}, never: slices.Concat(ovsdb, []string{"github.com/vishvananda", "github.com/spf13"})},
	{folder: "k8sclient", ours: []string{"types", "sriov", "internal/host"}, never: ovsdb},
	// Caches and clientsets are paid for by every init, on every pod of a node without an agent.
	{folder: "cmd/plexus-once", any: true, never: slices.Concat(ovsdb, window, []string{
		"k8s.io/api", "k8s.io/client-go/tools/cache", "k8s.io/client-go/kubernetes", "github.com/spf13/cobra", "github.com/prometheus", "go.opentelemetry.io",
	})},
	// Findings and texts are functions of a Snapshot, also on machines without Linux. Only collect
	// asks the kernel.
	{folder: "internal/inspect", alone: true, ours: []string{"internal/style"}, std: true, never: []string{"net/http"}},
	{folder: "internal/inspect", ours: []string{
		"types", "sriov", "delegate/journal", "internal/confdir", "internal/agent/status", "internal/rpc", "internal/explain", "internal/style", "internal/host", "internal/version",
	}, never: slices.Concat(kubernetes, ovsdb, []string{"net/http"})},
	// Both commands that stay serve by it, and one of them asks no API server.
	{folder: "internal/probes", ours: []string{"internal/host"}, never: slices.Concat(kubernetes, []string{"github.com/containernetworking", "github.com/vishvananda", "github.com/prometheus"})},
	// The agent runs no plugin and enters no namespace.
	{folder: "internal/agent", any: true, never: []string{"github.com/containernetworking", "github.com/vishvananda"}},
	// Nor does it drive a switch, and what does asks no API server.
	{folder: "cmd/plexus-agent", any: true, never: slices.Concat(ovsdb, window)},
	{folder: "cmd/plexus-vhostuser", ours: []string{"types", "sriov", "internal/plugin", "internal/host", "internal/version"}, never: slices.Concat(kubernetes, []string{module + "/internal/plugin/vf"})},
	// cmd/plexus links it. Facts come from another process, by rpc.
	{folder: "internal/source", ours: []string{"types", "delegate", "internal/host", "internal/rpc"}, never: slices.Concat(kubernetes, ovsdb, []string{
		"net/http", "*yaml*", "google.golang.org/grpc", "*protobuf*",
	})},
	{folder: "cmd/plexus", any: true, never: slices.Concat(kubernetes, ovsdb, window, []string{
		module + "/k8sclient", module + "/sriov/pf", module + "/internal/plugin/vf", module + "/internal/plugin/vhostuser", "net/http", "*yaml*", "github.com/spf13", "google.golang.org/grpc", "go.opentelemetry.io", "*protobuf*",
	})},
}

var (
	// window is what kubectl-plexus is made of, and no program of a node.
	window     = []string{module + "/internal/window", module + "/internal/explain", module + "/internal/inspect", module + "/internal/validate", module + "/internal/windowpod", "k8s.io/cli-runtime"}
	kubernetes = []string{"k8s.io", "sigs.k8s.io"}
	ovsdb      = []string{"github.com/ovn-kubernetes"}
)

// rulesOf gives the rules that hold for one of our packages.
func rulesOf(path string) []rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return !within(path, r.folder) || r.alone && path != r.folder })
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// violations tells what breaks the rules.
func violations(packages []pkg) []string {
	standard := map[string]bool{}
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	var found []string
	for _, p := range packages {
		path, isOurs := ours(p.ImportPath)
		if !isOurs {
			continue
		}
		applying := rulesOf(path)
		if len(applying) == 0 && len(p.GoFiles) > 0 && !within(path, "cmd") && !within(path, "internal") {
			found = append(found, path+" has no rule: only cmd and internal tie packages together")
		}
		for _, r := range applying {
			for _, dep := range p.Deps {
				if why := r.refuses(dep, standard[dep]); why != "" {
					found = append(found, fmt.Sprintf("%s links %s: %s", path, dep, why))
				}
			}
		}
	}
	return found
}

// refuses tells why a package may not be linked, "" if it may.
func (r *rule) refuses(dep string, standard bool) string {
	below, isOurs := ours(dep)
	if isOurs && !r.any && !within(below, r.folder) && !slices.ContainsFunc(r.ours, func(folder string) bool { return within(below, folder) }) {
		return fmt.Sprintf("of ours it may link %q", r.ours)
	}
	if r.std && !standard && !isOurs {
		return "it may link the standard library alone"
	}
	for _, never := range r.never {
		if word, anywhere := strings.CutPrefix(never, "*"); anywhere && strings.Contains(dep, strings.TrimSuffix(word, "*")) || within(dep, never) {
			return "it must not link " + never
		}
	}
	return ""
}

// list asks the go command for every package of the module and all that they link.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,GoFiles,Deps", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// root is the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImports(t *testing.T) {
	packages := list(t)
	for _, violation := range violations(packages) {
		t.Error(violation)
	}
	// A rule whose folder is gone, or whose name is misspelt, holds nothing.
	for _, r := range rules {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return p.ImportPath == module+"/"+r.folder }) {
			t.Errorf("there is no package %s for its rule", r.folder)
		}
	}
	// Nor does one that forbids what nobody links: these are linked by somebody.
	for _, path := range []string{
		"github.com/containernetworking/cni/libcni", "github.com/vishvananda/netlink", "k8s.io/api/core/v1", "k8s.io/client-go/tools/cache",
		"github.com/spf13/cobra", "github.com/prometheus/client_golang/prometheus", "go.opentelemetry.io/otel/exporters/otlp/otlptrace",
		"log/slog", "net/http", "sigs.k8s.io/yaml", module + "/internal/rpc", "github.com/ovn-kubernetes/libovsdb/client",
	} {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return p.ImportPath == path }) {
			t.Errorf("nobody links %s: the list is not of the whole module, or the rules are out of date", path)
		}
	}
}

// TestImportsAreRefused makes up a package for every rule that breaks it.
func TestImportsAreRefused(t *testing.T) {
	for _, tc := range []struct{ path, dep, want string }{
		{"types", "log", "types links log: it must not link log"},
		{"types", "log/slog", "types links log/slog: it must not link log"},
		{"types", "net/http", "types links net/http: it must not link net/http"},
		{"types", "github.com/x/y", "types links github.com/x/y: it may link the standard library alone"},
		{"types", module + "/internal/rpc", "types links " + module + "/internal/rpc: of ours it may link []"},
		{"types", "net/netip", ""},
		{"types", "logic", "types links logic: it may link the standard library alone"},
		{"sriov", module + "/delegate", "sriov links " + module + `/delegate: of ours it may link ["types" "internal/host"]`},
		{"sriov", module + "/types", ""},
		{"sriov", module + "/internal/host", ""},
		{"sriov", "net/http", "sriov links net/http: it must not link net/http"},
		{"sriov/pf", "net/http", "sriov/pf links net/http: it must not link net/http"},
		{"internal/plugin", module + "/delegate", "internal/plugin links " + module + `/delegate: of ours it may link ["types" "sriov" "internal/host" "internal/version"]`},
		{"internal/plugin", module + "/internal/version", ""},
		{"internal/plugin", "k8s.io/client-go/rest", "internal/plugin links k8s.io/client-go/rest: it must not link k8s.io"},
		{"internal/plugin/vf", module + "/delegate", "internal/plugin/vf links " + module + `/delegate: of ours it may link ["types" "sriov" "internal/host" "internal/version"]`},
		{"internal/plugin/vf", module + "/k8sclient", "internal/plugin/vf links " + module + `/k8sclient: of ours it may link ["types" "sriov" "internal/host" "internal/version"]`},
		{"internal/plugin/vf", "k8s.io/client-go/rest", "internal/plugin/vf links k8s.io/client-go/rest: it must not link k8s.io"},
		{"internal/plugin/vf", "github.com/ovn-kubernetes/libovsdb/client", "internal/plugin/vf links github.com/ovn-kubernetes/libovsdb/client: it must not link github.com/ovn-kubernetes"},
		{"cmd/plexus", module + "/sriov/pf", "cmd/plexus links " + module + "/sriov/pf: it must not link " + module + "/sriov/pf"},
		{"internal/plugin/vf", "net/http", "internal/plugin/vf links net/http: it must not link net/http"},
		{"cmd/plexus-sriov", "net/http", "cmd/plexus-sriov links net/http: it must not link net/http"},
		{"cmd/plexus-sriov", module + "/sriov/pf", ""},
		{"delegate", module + "/k8sclient", "delegate links " + module + `/k8sclient: of ours it may link ["types" "internal/host"]`},
		{"delegate", module + "/sriov", "delegate links " + module + `/sriov: of ours it may link ["types" "internal/host"]`},
		{"delegate", module + "/internal/rpc", "delegate links " + module + `/internal/rpc: of ours it may link ["types" "internal/host"]`},
		{"delegate", module + "/delegate/journal", ""},
		{"delegate", module + "/internal/host", ""},
		{"delegate", module + "/delegate/plan", ""},
		{"delegate/plan", module + "/delegate/journal", "delegate/plan links " + module + `/delegate/journal: of ours it may link ["types"]`},
		{"delegate/plan", "github.com/vishvananda/netlink", "delegate/plan links github.com/vishvananda/netlink: it must not link github.com/vishvananda"},
		{"delegate/plan", "github.com/containernetworking/cni/libcni", ""},
		{"internal/host", module + "/types", "internal/host links " + module + "/types: of ours it may link []"},
		{"internal/host", "github.com/containernetworking/plugins/pkg/ns", "internal/host links github.com/containernetworking/plugins/pkg/ns: it must not link github.com/containernetworking"},
		{"internal/host", "golang.org/x/sys/unix", ""},
		{"delegate", "k8s.io/client-go/rest", "delegate links k8s.io/client-go/rest: it must not link k8s.io"},
		{"delegate/sub", module + "/cmd/x", "delegate/sub links " + module + `/cmd/x: of ours it may link ["types" "internal/host"]`},
		{"delegate/journal", "github.com/containernetworking/cni/libcni", "delegate/journal links github.com/containernetworking/cni/libcni: it must not link github.com/containernetworking"},
		{"delegate/journal", "github.com/vishvananda/netlink", "delegate/journal links github.com/vishvananda/netlink: it must not link github.com/vishvananda"},
		{"k8sclient", module + "/delegate", "k8sclient links " + module + `/delegate: of ours it may link ["types" "sriov" "internal/host"]`},
		{"k8sclient", "k8s.io/client-go/rest", ""},
		{"cmd/plexus", "k8s.io/api/core/v1", "cmd/plexus links k8s.io/api/core/v1: it must not link k8s.io"},
		{"cmd/plexus", "net/http", "cmd/plexus links net/http: it must not link net/http"},
		{"cmd/plexus", "go.yaml.in/yaml/v2", "cmd/plexus links go.yaml.in/yaml/v2: it must not link *yaml*"},
		{"cmd/plexus", "github.com/spf13/cobra", "cmd/plexus links github.com/spf13/cobra: it must not link github.com/spf13"},
		{"cmd/plexus", "google.golang.org/grpc/codes", "cmd/plexus links google.golang.org/grpc/codes: it must not link google.golang.org/grpc"},
		{"cmd/plexus", "go.opentelemetry.io/otel", "cmd/plexus links go.opentelemetry.io/otel: it must not link go.opentelemetry.io"},
		{"cmd/plexus", module + "/k8sclient", "cmd/plexus links " + module + "/k8sclient: it must not link " + module + "/k8sclient"},
		{"cmd/plexus", module + "/internal/rpc", ""},
		{"internal/source", "k8s.io/client-go/rest", "internal/source links k8s.io/client-go/rest: it must not link k8s.io"},
		{"internal/source", "net/http", "internal/source links net/http: it must not link net/http"},
		{"internal/source", "sigs.k8s.io/yaml", "internal/source links sigs.k8s.io/yaml: it must not link sigs.k8s.io"},
		{"internal/source", "go.yaml.in/yaml/v2", "internal/source links go.yaml.in/yaml/v2: it must not link *yaml*"},
		{"internal/source", "google.golang.org/grpc/codes", "internal/source links google.golang.org/grpc/codes: it must not link google.golang.org/grpc"},
		{"internal/source", module + "/k8sclient", "internal/source links " + module + `/k8sclient: of ours it may link ["types" "delegate" "internal/host" "internal/rpc"]`},
		{"internal/source", module + "/delegate", ""},
		{"internal/source", module + "/internal/rpc", ""},
		{"cmd/plexus", module + "/internal/plugin", ""},
		{"cmd/plexus", module + "/internal/plugin/vf", "cmd/plexus links " + module + "/internal/plugin/vf: it must not link " + module + "/internal/plugin/vf"},
		{"cmd/plexus", module + "/internal/plugin/vhostuser", "cmd/plexus links " + module + "/internal/plugin/vhostuser: it must not link " + module + "/internal/plugin/vhostuser"},
		{"internal/inspect", "github.com/vishvananda/netlink", "internal/inspect links github.com/vishvananda/netlink: it may link the standard library alone"},
		{"internal/inspect", module + "/internal/host", "internal/inspect links " + module + `/internal/host: of ours it may link ["internal/style"]`},
		{"internal/inspect", "net/http", "internal/inspect links net/http: it must not link net/http"},
		{"internal/inspect/collect", "github.com/vishvananda/netlink", ""},
		{"internal/inspect/collect", module + "/delegate/journal", ""},
		{"internal/inspect/collect", module + "/delegate", "internal/inspect/collect links " + module + `/delegate: of ours it may link ["types" "sriov" "delegate/journal" "internal/confdir" "internal/agent/status" "internal/rpc" "internal/explain" "internal/style" "internal/host" "internal/version"]`},
		{"internal/inspect/collect", "k8s.io/client-go/rest", "internal/inspect/collect links k8s.io/client-go/rest: it must not link k8s.io"},
		{"cmd/plexus", module + "/internal/inspect/collect", "cmd/plexus links " + module + "/internal/inspect/collect: it must not link " + module + "/internal/inspect"},
		{"cmd/plexus-once", module + "/internal/window", "cmd/plexus-once links " + module + "/internal/window: it must not link " + module + "/internal/window"},
		{"cmd/plexus-agent", module + "/internal/inspect", "cmd/plexus-agent links " + module + "/internal/inspect: it must not link " + module + "/internal/inspect"},
		{"cmd/plexus-once", "net/http", ""},
		{"internal/agent", module + "/k8sclient", ""},
		{"internal/agent", "github.com/vishvananda/netns", "internal/agent links github.com/vishvananda/netns: it must not link github.com/vishvananda"},
		{"cmd/plexus-once", "k8s.io/api/core/v1", "cmd/plexus-once links k8s.io/api/core/v1: it must not link k8s.io/api"},
		{"cmd/plexus", "github.com/ovn-kubernetes/libovsdb/client", "cmd/plexus links github.com/ovn-kubernetes/libovsdb/client: it must not link github.com/ovn-kubernetes"},
		{"cmd/plexus-once", "github.com/ovn-kubernetes/libovsdb/ovsdb", "cmd/plexus-once links github.com/ovn-kubernetes/libovsdb/ovsdb: it must not link github.com/ovn-kubernetes"},
		{"delegate", "github.com/ovn-kubernetes/libovsdb/ovsdb", "delegate links github.com/ovn-kubernetes/libovsdb/ovsdb: it must not link github.com/ovn-kubernetes"},
		{"k8sclient", "github.com/ovn-kubernetes/libovsdb/ovsdb", "k8sclient links github.com/ovn-kubernetes/libovsdb/ovsdb: it must not link github.com/ovn-kubernetes"},
		{"internal/plugin/vhostuser", module + "/sriov", ""},
		{"internal/plugin/vhostuser", "k8s.io/client-go/rest", "internal/plugin/vhostuser links k8s.io/client-go/rest: it must not link k8s.io"},
		{"internal/plugin/vhostuser", module + "/delegate", "internal/plugin/vhostuser links " + module + `/delegate: of ours it may link ["types" "sriov" "internal/host" "internal/version"]`},
		{"cmd/plexus-vhostuser", module + "/internal/plugin/vf", "cmd/plexus-vhostuser links " + module + "/internal/plugin/vf: it must not link " + module + "/internal/plugin/vf"},
		{"cmd/plexus-vhostuser", module + "/delegate", "cmd/plexus-vhostuser links " + module + `/delegate: of ours it may link ["types" "sriov" "internal/plugin" "internal/host" "internal/version"]`},
		{"cmd/plexus", module + "/internal/window", "cmd/plexus links " + module + "/internal/window: it must not link " + module + "/internal/window"},
		{"cmd/plexus-once", module + "/internal/explain", "cmd/plexus-once links " + module + "/internal/explain: it must not link " + module + "/internal/explain"},
		{"cmd/plexus-agent", "k8s.io/cli-runtime/pkg/genericclioptions", "cmd/plexus-agent links k8s.io/cli-runtime/pkg/genericclioptions: it must not link k8s.io/cli-runtime"},
		{"internal/explain", module + "/delegate/plan", "internal/explain links " + module + `/delegate/plan: of ours it may link ["internal/style" "types"]`},
		{"internal/explain", "net/http", "internal/explain links net/http: it must not link net/http"},
		{"internal/window", module + "/internal/agent", "internal/window links " + module + `/internal/agent: of ours it may link ["types" "delegate" "k8sclient" "internal/confdir" "internal/engine" "internal/source" "internal/rpc" "internal/agent/status" "internal/explain" "internal/validate" "internal/inspect" "internal/style" "internal/windowpod" "internal/host" "internal/version" "sriov"]`},
		{"internal/window", module + "/internal/install", "internal/window links " + module + `/internal/install: of ours it may link ["types" "delegate" "k8sclient" "internal/confdir" "internal/engine" "internal/source" "internal/rpc" "internal/agent/status" "internal/explain" "internal/validate" "internal/inspect" "internal/style" "internal/windowpod" "internal/host" "internal/version" "sriov"]`},
		{"internal/window", module + "/internal/engine", ""},
		{"internal/window", module + "/delegate/plan", ""},
		{"internal/validate", module + "/delegate", "internal/validate links " + module + `/delegate: of ours it may link ["internal/style" "types" "delegate/plan"]`},
		{"internal/validate", "k8s.io/client-go/rest", "internal/validate links k8s.io/client-go/rest: it must not link k8s.io"},
		{"internal/validate", "go.yaml.in/yaml/v3", ""},
		{"cmd/plexus-once", module + "/internal/validate", "cmd/plexus-once links " + module + "/internal/validate: it must not link " + module + "/internal/validate"},
		{"cmd/plexus-agent", module + "/internal/validate", "cmd/plexus-agent links " + module + "/internal/validate: it must not link " + module + "/internal/validate"},
		{"cmd/plexus", module + "/internal/validate", "cmd/plexus links " + module + "/internal/validate: it must not link " + module + "/internal/validate"},
		{"scheduler", "fmt", "scheduler has no rule: only cmd and internal tie packages together"},
	} {
		t.Run(tc.path+" "+tc.dep, func(t *testing.T) {
			got := violations([]pkg{
				{ImportPath: module + "/" + tc.path, GoFiles: []string{"x.go"}, Deps: []string{tc.dep}},
				{ImportPath: tc.dep, Standard: slices.Contains([]string{"fmt", "log", "log/slog", "net/http", "net/netip"}, tc.dep)},
			})
			if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.path) }); i >= 0 {
				got = got[i : i+1]
			} else {
				got = nil
			}
			if strings.Join(got, "\n") != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}
