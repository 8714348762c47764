package plan

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// maxAnnotations is how many bytes of annotations Kubernetes lets an object have.
const maxAnnotations = 256 << 10

// shapes are annotations of about a size, each with much of something.
var shapes = map[string]func(size int) string{
	"unknown keys":         func(size int) string { return `[{"name":"a",` + filled(size, `"%05x":0`) + `}]` },
	"unknown keys of many": func(size int) string { return ofMany(size, `"%05x":0`) },
	"arguments":            func(size int) string { return `[{"name":"a","cni-args":{` + filled(size, `"%05x":0`) + `}}]` },
	"long arguments": func(size int) string {
		return `[{"name":"a","cni-args":{` + repeated(types.MaxValues, `"%05x":"`+strings.Repeat("<", size/types.MaxValues-12)+`"`) + `}}]`
	},
	"arguments of many": func(size int) string {
		return "[" + repeated(types.MaxNetworks, `{"name":"a","cni-args":{"k%d":"`+strings.Repeat("x", size/types.MaxNetworks-40)+`"}}`) + "]"
	},
	"twins": func(size int) string { return `[{"name":"a",` + filled(size/2, `"k%05x":0,"K%[1]05x":0`) + `}]` },
	"nesting": func(size int) string {
		deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
		return `[{"name":"a","cni-args":{` + repeated(size/4010, `"%05x":`+deep) + `}}]`
	},
	"nesting without end": func(size int) string { return `[{"name":"a","cni-args":` + strings.Repeat(`{"a":`, size/5) },
	"addresses":           func(size int) string { return `[{"name":"a","ips":[` + filled(size, `"fd00::%05x"`) + `]}]` },
	"port mappings": func(size int) string {
		return `[{"name":"a","portMappings":[` + filled(size, `{"hostPort":%d}`) + `]}]`
	},
	"empty elements": func(size int) string { return "[" + strings.Repeat("{},", size/3) + "{}]" },
	"commas":         func(size int) string { return strings.Repeat(",", size) },
	"a long name":    func(size int) string { return strings.Repeat("a", size) },
	"a long device":  func(size int) string { return `[{"name":"a","deviceID":"` + strings.Repeat("d", size) + `"}]` },
}

func repeated(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ",")
}

func filled(size int, format string) string {
	return repeated(size/(len(fmt.Sprintf(format, 0))+1), format)
}

func ofMany(size int, format string) string {
	element := `{"name":"a",` + strings.ReplaceAll(filled(size/types.MaxNetworks-20, format), "%", "%%") + "}"
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", types.MaxNetworks), ",") + "]"
}

// annotatedPlan is a planner for a pod with an annotation, and what it warns of.
type annotatedPlan struct {
	planner  *Planner
	facts    *types.Facts
	warnings strings.Builder
}

func newAnnotatedPlan(t testing.TB, annotation string) *annotatedPlan {
	t.Helper()
	dir := t.TempDir()
	for _, plugin := range planPlugins {
		writeTestFile(t, filepath.Join(dir, "bin", plugin), "", 0o755)
	}
	config, _, err := types.ParseConfig([]byte(`{"cniVersion": "1.1.0", "name": "outer", "type": "plexus", ` + podnet + `}`))
	if err != nil {
		t.Fatal(err)
	}
	p := &annotatedPlan{facts: &types.Facts{
		Pod:      types.Pod{Namespace: "default", Name: "web", Annotations: annotated(annotation)},
		Networks: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "a"}, Config: able(`"ips": true`)}},
	}}
	p.planner = &Planner{Config: config, Node: &LocalNode{Path: []string{filepath.Join(dir, "bin")}}, Warn: func(format string, args ...any) {
		fmt.Fprintf(&p.warnings, format+"\n", args...)
	}}
	return p
}

func (p *annotatedPlan) plan(ctx context.Context) error {
	p.warnings.Reset()
	_, err := p.planner.Plan(ctx, p.facts, types.Sandbox{ContainerID: "c1", NetNS: "/n", IfName: "eth0"})
	return err
}

// work counts the bytes that planning allocates.
func (p *annotatedPlan) work(t *testing.T) uint64 {
	return check.Allocated(func() { _ = p.plan(t.Context()) })
}

// Twice the annotation is about twice the work: where each key costs all keys it is four
// times as much.
func TestPlanWorkIsLinear(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			half, whole := newAnnotatedPlan(t, shape(maxAnnotations/2)).work(t), newAnnotatedPlan(t, shape(maxAnnotations)).work(t)
			if whole > 3*half {
				t.Errorf("%d bytes of work for half of it, %d for all", half, whole)
			}
		})
	}
}

// Whatever an annotation says, the log and the error about it are short.
func TestPlanSaysLittleAboutMuch(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			p := newAnnotatedPlan(t, shape(maxAnnotations))
			err := p.plan(t.Context())
			if err != nil && len(err.Error()) > 8000 {
				t.Errorf("%d bytes of error: %.300v", len(err.Error()), err)
			}
			if lines := strings.Count(p.warnings.String(), "\n"); lines > 1 || p.warnings.Len() > 4000 {
				t.Errorf("%d lines, %d bytes of warnings: %.300s", lines, p.warnings.Len(), p.warnings.String())
			}
		})
	}
}

func TestPlanWarnsOfManyUnknownKeys(t *testing.T) {
	p := newAnnotatedPlan(t, `[{"name":"a",`+repeated(28000, `"%05x":0`)+`}]`)
	if err := p.plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	const first = "pod default/web: annotation k8s.v1.cni.cncf.io/networks: unknown keys, ignored: element 1 (default/a): 00000; element 1 (default/a): 00001; "
	if got := p.warnings.String(); !strings.HasPrefix(got, first) || !strings.HasSuffix(got, "00009; and 27990 more\n") {
		t.Errorf("warned: %.500s", got)
	}
}

// stoppingNode ends a context as soon as a plugin or a file is looked for.
type stoppingNode struct {
	*LocalNode
	stop  context.CancelFunc
	asked int
}

func (n *stoppingNode) CheckPlugin(name string) error {
	n.asked++
	n.stop()
	return n.LocalNode.CheckPlugin(name)
}

func TestPlanEndsWithItsContext(t *testing.T) {
	p := newAnnotatedPlan(t, strings.Repeat("a,", types.MaxNetworks-1)+"a")
	ctx, stop := context.WithCancel(t.Context())
	node := &stoppingNode{LocalNode: p.planner.Node.(*LocalNode), stop: stop}
	p.planner.Node = node
	err := p.plan(ctx)
	if types.CodeOf(err, 0) != types.CodeTryAgainLater || !strings.Contains(fmt.Sprint(err), "pod default/web: planning did not end in time") {
		t.Errorf("code %d: %v", types.CodeOf(err, 0), err)
	}
	if node.asked != 2 { // the plugins of the default network, which came first
		t.Errorf("%d plugins were looked for", node.asked)
	}
}

// The search for networks ends as well: with the context at its end, no file is read.
func TestPlanSearchEndsWithItsContext(t *testing.T) {
	p := newAnnotatedPlan(t, "a,a,a")
	p.facts.Networks[0].Config = ""
	node := &readingNode{LocalNode: p.planner.Node.(*LocalNode)}
	p.planner.Node = node
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := p.plan(ctx); err == nil || node.listed != 0 {
		t.Errorf("%d folders were read: %v", node.listed, err)
	}
}

func BenchmarkPlanAnnotation(b *testing.B) {
	for name, shape := range shapes {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			p := newAnnotatedPlan(b, shape(maxAnnotations))
			for b.Loop() {
				_ = p.plan(b.Context())
			}
		})
	}
}
