package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/types"
)

const (
	// maxAnnotations is how many bytes of annotations Kubernetes lets an object have.
	maxAnnotations = 256 << 10
	// annotationRounds is how often each annotation is tried, beside a small one in turn.
	annotationRounds = 5
)

// annotated is a pod whose annotation is large, and the processor time of its calls.
type annotated struct {
	what         string
	plugins      int    // of the list that it selects
	fields       string // of the element of the annotation
	plain, large *side
	add, del     []time.Duration
	ratios       []float64 // of ADD to that of a pod that selects the same network by its name
}

// annotations are those that are taken: most bytes of an annotation are not.
func annotations() []*annotated {
	argument := func(size int) string { return `,"cni-args":{"k":"` + strings.Repeat("<", size) + `"}` }
	unknown := make([]string, maxAnnotations/10)
	for i := range unknown {
		unknown[i] = fmt.Sprintf(`"%05x":0`, i)
	}
	arguments := make([]string, types.MaxValues)
	for i := range arguments {
		arguments[i] = fmt.Sprintf(`"%05x":%q`, i, strings.Repeat("<", maxAnnotations/types.MaxValues-16))
	}
	return []*annotated{
		{what: "unknown keys", plugins: 2, fields: "," + strings.Join(unknown, ",")},
		{what: "a long argument", plugins: 2, fields: argument(maxAnnotations - 100)},
		{what: "long arguments", plugins: 2, fields: `,"cni-args":{` + strings.Join(arguments, ",") + "}"},
		{what: "as much as a long list may get", plugins: types.MaxPlugins, fields: argument(15_000)},
	}
}

// measureAnnotations measures pods whose annotations are large in turn with such as select the same
// network and ask nothing.
func (l *lab) measureAnnotations(ctx context.Context) ([]*annotated, error) {
	all := annotations()
	for i, a := range all {
		var err error
		if a.plain, err = l.annotatedSide(fmt.Sprintf("plain-%d", i), a.plugins, ""); err != nil {
			return nil, err
		}
		if a.large, err = l.annotatedSide(fmt.Sprintf("large-%d", i), a.plugins, a.fields); err != nil {
			return nil, err
		}
	}
	for round := range annotationRounds {
		for i, a := range all {
			if err := a.run(ctx, fmt.Sprintf("annotated-%d-%d", i, round)); err != nil {
				return nil, fmt.Errorf("annotation with %s: %w", a.what, err)
			}
		}
	}
	return all, nil
}

// annotatedSide is a pod that selects a list of plugins, and asks something of it.
func (l *lab) annotatedSide(name string, plugins int, fields string) (*side, error) {
	list := []object{{"type": "bridge", "bridge": "bench-annotated", "ipam": ipam("172.29.0.0/16")}}
	for range plugins - 1 {
		list = append(list, object{"type": "tuning"})
	}
	pod := podObject(0)
	pod["metadata"] = object{"name": name, "namespace": namespace, "annotations": object{types.AnnotationNetworks: `[{"name":"list"` + fields + `}]`}}
	dir := filepath.Join(l.dir, name)
	err := writeYAML(dir, map[string]object{"pod.yaml": pod, "list.yaml": {
		"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
		"metadata": object{"name": "list", "namespace": namespace},
		"spec":     object{"config": string(encode(object{"cniVersion": "1.1.0", "name": "list", "plugins": list}))},
	}})
	if err != nil {
		return nil, err
	}
	s := l.newSide()
	s.pod = types.Pod{Namespace: namespace, Name: name}
	plugin := object{"type": "plexus", "delegates": []object{defaultNetwork()}, "agentSocket": "", "manifests": dir, "logLevel": "error"}
	return s, s.load(object{"cniVersion": "1.1.0", "name": "annotated", "plugins": []object{plugin}})
}

func (a *annotated) run(ctx context.Context, id string) error {
	plain, _, err := a.plain.processorTime(ctx, id+"-p")
	if err != nil {
		return err
	}
	add, del, err := a.large.processorTime(ctx, id+"-l")
	a.add, a.del = append(a.add, add), append(a.del, del)
	a.ratios = append(a.ratios, float64(add)/float64(plain))
	return err
}

// processorTime attaches a sandbox and detaches it, and gives the processor time of all that runs
// for that: plexus, plexus-once and the plugins.
func (s *side) processorTime(ctx context.Context, id string) (add, del time.Duration, err error) {
	sb := sandbox{id, netns, s.pod}
	took := func(call func(context.Context, sandbox) error) time.Duration {
		before := ofChildren()
		if err == nil {
			err = call(ctx, sb)
		}
		settle()
		return ofChildren() - before
	}
	add = took(s.attach)
	return add, took(s.detach), err
}

func annotationRows(all []*annotated) [][]string {
	rows := [][]string{{"annotation, processor time", "kB", "plugins", "ADD, ms", "ratio to a small one", "DEL, ms"}}
	for _, a := range all {
		rows = append(rows, []string{
			a.what, kB(int64(len(a.fields))), fmt.Sprint(a.plugins), ms(median(a.add)), fmt.Sprintf("%.2f", median(a.ratios)), ms(median(a.del)),
		})
	}
	return rows
}
