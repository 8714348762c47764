// Package explain turns a plan into a document that says what an ADD would do. It is pure: it
// reads nothing and runs nothing.
package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// APIVersion and Kind mark the document. Fields are added to a version, and never change.
const (
	APIVersion = "plexus-cni.io/v1alpha1"
	Kind       = "Explanation"
)

// Document explains what ADD would do for pods.
type Document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Node       Node   `json:"node"`
	Pods       []Pod  `json:"pods"`
}

// Node is the node that the pods are planned for.
type Node struct {
	Name  string    `json:"name,omitempty"` // if another than this machine was read
	Taken time.Time `json:"taken,omitzero"` // when it was read
	// Configuration is the file with Plexus's configuration; "" if one is assumed.
	Configuration string   `json:"configuration,omitempty"`
	Assumed       []string `json:"assumed,omitempty"` // for want of the node
	Warnings      []string `json:"warnings,omitempty"`
}

// Pod is what ADD would do for one pod: it has attachments, or is refused.
type Pod struct {
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	Attachments []Attachment `json:"attachments,omitempty"` // in order
	Refused     *Refusal     `json:"refused,omitempty"`
	Assumed     []string     `json:"assumed,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
	AddKnows    []string     `json:"addKnows,omitempty"` // what only the ADD can know
}

// Refusal is the error that ADD would give to the runtime.
type Refusal struct {
	Code    uint   `json:"code"`
	Message string `json:"message"`
}

// Attachment is one network of a pod.
type Attachment struct {
	Network    string   `json:"network"`
	Interface  string   `json:"interface"`
	Default    bool     `json:"default,omitempty"` // makes the pod's first interface
	Assumed    bool     `json:"assumed,omitempty"` // stands for what is not known
	From       Origin   `json:"from"`
	Device     *Device  `json:"device,omitempty"`
	IPs        []string `json:"ips,omitempty"` // that the pod asks for, as below
	MAC        string   `json:"mac,omitempty"`
	Gateways   []string `json:"gateways,omitempty"`
	CNIArgs    string   `json:"cniArgs,omitempty"` // beside the runtime's, "" if there are none
	Plugins    []Plugin `json:"plugins,omitempty"`
	DeviceFile string   `json:"deviceInfoFile,omitempty"`
}

// Origin is where an attachment comes from.
type Origin struct {
	// Field is a key of the node's configuration, or an annotation of the pod.
	Field      string `json:"field"`
	Element    int    `json:"element,omitempty"` // of the annotation, counted from 1
	Definition string `json:"networkAttachmentDefinition,omitempty"`
	File       string `json:"file,omitempty"` // of the node, with the configuration
}

// Device is the device that an attachment is given.
type Device struct {
	Resource string `json:"resource,omitempty"`
	ID       string `json:"id"`
	// Claim and what follows are of a device that a ResourceClaim allocates; PodClaim is the pod's
	// name for the claim.
	Claim    string `json:"claim,omitempty"`
	PodClaim string `json:"podClaim,omitempty"`
	Request  string `json:"request,omitempty"`
	Driver   string `json:"driver,omitempty"`
	Pool     string `json:"pool,omitempty"`
	Name     string `json:"name,omitempty"`
	ShareID  string `json:"shareID,omitempty"`
}

// Plugin is one plugin of an attachment, in the order in which they run.
type Plugin struct {
	Type string `json:"type"`
	// Runs are the plugins that it runs in turn.
	Runs []Run `json:"runs,omitempty"`
	// RuntimeConfig are the capabilities that it is given a value for.
	RuntimeConfig []string `json:"runtimeConfig,omitempty"`
	// Args are the keys of args.cni.
	Args []string `json:"args,omitempty"`
	// Follows is true if it also gets the result of the plugin before it, as prevResult.
	Follows bool `json:"follows,omitempty"`
	// Stdin is its configuration, byte for byte but for prevResult and for masked secrets.
	Stdin string `json:"stdin"`
}

// Run is a plugin that another one runs, by the key of the configuration that names it.
type Run struct {
	Key  string `json:"key"`
	Type string `json:"type"`
}

// Options say what goes into the document.
type Options struct {
	// ShowSecrets leaves values that look like secrets as they are.
	ShowSecrets bool
	// Unknown names the network of a default network that nobody knows; "" if it is known.
	Unknown string
}

// New gives a document without pods.
func New(node Node) *Document {
	return &Document{APIVersion: APIVersion, Kind: Kind, Node: node, Pods: []Pod{}}
}

// HasRefused reports whether ADD would fail for a pod.
func (d *Document) HasRefused() bool {
	for i := range d.Pods {
		if d.Pods[i].Refused != nil {
			return true
		}
	}
	return false
}

// OfError explains a pod for which ADD would fail.
func OfError(pod types.Ref, err error) Pod {
	return Pod{
		Namespace: pod.Namespace, Name: pod.Name,
		Refused: &Refusal{Code: types.CodeOf(err, types.CodeFailed), Message: err.Error()},
	}
}

// OfPlan explains a pod for which there is a plan.
func OfPlan(ctx context.Context, plan *types.Plan, opts Options) (Pod, error) {
	pod := Pod{Namespace: plan.Pod.Namespace, Name: plan.Pod.Name}
	for i := range plan.Attachments {
		a, err := ofAttachment(ctx, &plan.Attachments[i], &plan.Sandbox, opts)
		if err != nil {
			return Pod{}, fmt.Errorf("network %s: %w", plan.Attachments[i].Network, err)
		}
		pod.Attachments = append(pod.Attachments, a)
	}
	return pod, nil
}

func ofAttachment(ctx context.Context, a *types.Attachment, sandbox *types.Sandbox, opts Options) (Attachment, error) {
	explained := Attachment{
		Network: a.Network, Interface: a.Interface, Default: a.Default, From: ofOrigin(&a.Origin),
		IPs: a.IPs, MAC: a.MAC, Gateways: a.Gateways, DeviceFile: a.DeviceInfoFile,
	}
	if opts.Unknown != "" && a.Network == opts.Unknown && a.Default {
		explained.Assumed = true
		return explained, nil
	}
	if device, has := a.Device(); has {
		explained.Device = ofDevice(device, a.Claimed)
	}
	if len(a.Args) > 0 {
		explained.CNIArgs = argsText(a.CNIArgs(&types.Sandbox{}))
	}
	var err error
	explained.Plugins, err = plugins(ctx, a, sandbox, opts)
	return explained, err
}

func ofDevice(device types.Device, c *types.ClaimedDevice) *Device {
	if c == nil {
		return &Device{Resource: device.Resource, ID: device.ID}
	}
	return &Device{
		Resource: device.Resource, ID: device.ID, Claim: c.Claim, PodClaim: c.PodClaim, Request: c.Request,
		Driver: c.Driver, Pool: c.Pool, Name: c.Name, ShareID: c.ShareID,
	}
}

func ofOrigin(o *types.Origin) Origin {
	origin := Origin{Field: o.Field, Element: o.Element, File: o.File}
	if o.Definition != nil {
		origin.Definition = o.Definition.String()
	}
	return origin
}

func argsText(args [][2]string) string {
	pairs := make([]string, len(args))
	for i, arg := range args {
		pairs[i] = arg[0] + "=" + arg[1]
	}
	return strings.Join(pairs, ";")
}

// plugins gives what each plugin of an attachment will get.
func plugins(ctx context.Context, a *types.Attachment, sandbox *types.Sandbox, opts Options) ([]Plugin, error) {
	conf, err := types.ParseNetConf([]byte(a.Config), "")
	if err != nil {
		return nil, err
	}
	inputs, err := stdins(ctx, a, sandbox)
	if err != nil {
		return nil, err
	}
	all := make([]Plugin, len(inputs))
	for i, stdin := range inputs {
		if !opts.ShowSecrets {
			stdin = Mask(stdin)
		}
		all[i] = Plugin{Type: conf.Plugins[i].Type, Follows: i > 0, Stdin: string(stdin)}
		for _, e := range conf.Plugins[i].Executables {
			all[i].Runs = append(all[i].Runs, Run(e))
		}
		all[i].RuntimeConfig, all[i].Args = given(stdin)
	}
	return all, nil
}

// given gives the names of what a plugin is given besides its configuration.
func given(stdin []byte) (capabilities, args []string) {
	var conf struct {
		RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
		Args          struct {
			CNI map[string]json.RawMessage `json:"cni"`
		} `json:"args"`
	}
	_ = json.Unmarshal(stdin, &conf) // args may be anything where the pod asks for none
	return sortedKeys(conf.RuntimeConfig), sortedKeys(conf.Args.CNI)
}
