package validate

import (
	"errors"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/types"
)

// run is one examination under way.
type run struct {
	options  Options
	order    map[string]int // of the files
	networks []*network
	byRef    map[types.Ref]*network
	pods     []*pod
	claims   map[claimKey][]string // the requests of each claim and of each template
	findings []Finding
	// everyPod are the faults that every pod has, from the configuration of Plexus.
	everyPod map[string]bool
	config   *types.Config
	objects  int // of a cluster
}

// network is a NetworkAttachmentDefinition.
type network struct {
	*object
	judged      types.Ref       // under which it is examined
	badName     bool            // no pod can select it
	config      *text           // spec.config; nil if there is none
	claim       string          // that it takes its device of; "" if none, or if it is refused
	json        *value          // nil if it is not valid JSON
	conf        *types.NetConf  // nil if it is refused
	broken      bool            // its faults are reported: no pod is refused for them again
	faults      map[string]bool // what the planner says of it
	wire        wire
	whereabouts []whereaboutsRange
	ranges      []addresses // of host-local
	sorted      []byte      // what canonical has made
}

// pod is a pod, or the template of pods.
type pod struct {
	*object
	path   string           // of the annotations
	values map[string]*text // the annotations that Plexus reads
	claims []podClaim
}

func newRun(files []File, o Options) *run {
	r := &run{options: o, order: map[string]int{}, byRef: map[types.Ref]*network{}, claims: map[claimKey][]string{}, everyPod: map[string]bool{}, config: o.Config}
	for i, f := range files {
		r.order[f.Name] = i
		if f.Object {
			r.objects++
		}
	}
	if r.config == nil {
		r.config, _, _ = types.ParseConfig([]byte(`{"cniVersion": "1.1.0", "name": "plexus", "type": "plexus", "delegates": [` + assumedConfig + `]}`))
	}
	return r
}

// add notes a finding of a rule, with what the rule says to do.
func (r *run) add(id string, o *object, offset int, field, message string) {
	rule, _ := RuleOf(id)
	r.addAs(rule.Severity, id, o, offset, field, message)
}

func (r *run) addAs(severity Severity, id string, o *object, offset int, field, message string) {
	rule, _ := RuleOf(id)
	f := Finding{Rule: id, Severity: severity, Field: field, Message: message, Do: rule.Do, Template: o.template}
	f.File = o.doc.src.name
	f.Line, f.Column = o.doc.src.position(offset)
	if o.doc.src.isObject {
		r.placeInObject(&f, o, offset)
	}
	if o.kind != "" && o.ref.Name != "" {
		f.Object = o.String()
	}
	r.findings = append(r.findings, f)
}

// placeInObject gives a finding the field of an object of the cluster that it is in, and its place there.
func (r *run) placeInObject(f *Finding, o *object, offset int) {
	f.File, f.Line, f.Column = strings.ToLower(o.kind)+" "+o.ref.String(), 1, 1
	for _, t := range o.doc.texts {
		if at, inside := t.find(offset); inside {
			f.File += " " + t.path
			before := t.value[:at]
			f.Line += strings.Count(before, "\n")
			f.Column += utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
			break
		}
	}
	r.order[f.File] = r.order[o.doc.src.name]
}

// assumedNode stands for a node that is not known: it has every plugin, and no files.
type assumedNode struct{}

var _ plan.Node = assumedNode{}

var errSelf = errors.New(`plugin "plexus" is plexus itself, which cannot be its own delegate`)

func (assumedNode) Stat(string) (fs.FileInfo, error)      { return nil, fs.ErrNotExist }
func (assumedNode) ReadDir(string) ([]fs.DirEntry, error) { return nil, fs.ErrNotExist }
func (assumedNode) ReadFile(string) ([]byte, error)       { return nil, fs.ErrNotExist }
func (assumedNode) CheckPlugin(name string) error {
	if name == "plexus" {
		return errSelf
	}
	return nil
}

// assumedConfig stands for a network that is not known here: it takes all that a pod may ask for.
const assumedConfig = `{"cniVersion": "1.0.0", "name": "assumed", "type": "assumed", "capabilities": {"ips": true, "mac": true,
	"infinibandGUID": true, "portMappings": true, "bandwidth": true, "deviceID": true, "ipam-claim-reference": true}}`

// lookup gives the network of a name, nil if it is in no file. Of two it is the last one, as of
// two that are applied one after the other.
func (r *run) lookup(ref types.Ref) *network { return r.byRef[ref] }
