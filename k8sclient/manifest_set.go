package k8sclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/types"
)

const (
	kindPod     = "Pod"
	kindNetwork = "NetworkAttachmentDefinition"
	kindClaim   = "ResourceClaim"
	kindSlice   = "ResourceSlice"
	listSuffix  = "List"

	groupNetworks = "k8s.cni.cncf.io"
)

// manifest is the part of an object in a file that is read.
type manifest struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
	Status     json.RawMessage `json:"status"`
	Items      json.RawMessage `json:"items"`
}

type manifestMeta struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	UID         string            `json:"uid"`
	Annotations map[string]string `json:"annotations"`
}

// manifestSet is what the manifests of a folder define.
type manifestSet struct {
	pods      map[types.Ref]PodObject
	specs     map[types.Ref]json.RawMessage // of the pods
	networks  map[types.Ref]types.Network
	podClaims map[types.Ref]podClaims
	claims    map[types.Ref]claimObject
	slices    []Slice
	where     map[string]string // kind and name to where it is defined
}

func newManifestSet() *manifestSet {
	return &manifestSet{
		pods:      map[types.Ref]PodObject{},
		specs:     map[types.Ref]json.RawMessage{},
		networks:  map[types.Ref]types.Network{},
		podClaims: map[types.Ref]podClaims{},
		claims:    map[types.Ref]claimObject{},
		where:     map[string]string{},
	}
}

// facts gives the facts of a pod, which has been found or whose annotations the request has.
func (s *manifestSet) facts(req *types.FactsRequest, found *PodObject) (*types.Facts, error) {
	pod, err := mergePod(req, found)
	if err != nil {
		return nil, err
	}
	facts := &types.Facts{Pod: pod}
	for _, ref := range wantedRefs(req, &pod) {
		network, known := s.networks[ref]
		if !known {
			network = types.Network{Ref: ref, Missing: true}
		}
		facts.Networks = append(facts.Networks, network)
	}
	return facts, nil
}

// addFile adds every document of a file.
func (s *manifestSet) addFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	return s.add(path, data)
}

// add adds every document of a manifest.
func (s *manifestSet) add(path string, data []byte) error {
	for i, document := range documents(data) {
		where := fmt.Sprintf("manifest %s, document %d", path, i+1)
		if err := s.addDocument(where, document); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

// documents cuts a YAML file at its lines that begin with "---".
func documents(data []byte) [][]byte {
	var all [][]byte
	var current []byte
	for line := range bytes.Lines(data) {
		mark, found := bytes.CutPrefix(line, []byte("---"))
		if found && len(bytes.TrimLeft(mark, " \t\r\n")) < len(mark) && len(bytes.TrimSpace(current)) > 0 {
			all, current = append(all, current), nil
		}
		current = append(current, line...)
	}
	return append(all, current)
}

func (s *manifestSet) addDocument(where string, document []byte) error {
	data, err := yaml.YAMLToJSON(document)
	if err != nil {
		return err
	}
	if string(data) == "null" { // only comments
		return nil
	}
	return s.addObject(where, data, manifest{})
}

// addObject adds an object. An element of a typed list has its type from the list.
func (s *manifestSet) addObject(where string, data []byte, inherited manifest) error {
	object := inherited
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("is not a Kubernetes object: %w", err)
	}
	group, _, _ := strings.Cut(object.APIVersion, "/")
	switch {
	case object.Kind == "":
		return errors.New("is not a Kubernetes object: it has no kind")
	case strings.HasSuffix(object.Kind, listSuffix) && object.Items != nil:
		return s.addList(where, object)
	case object.Kind == kindPod && object.APIVersion == "v1":
		return s.addPod(where, object)
	case object.Kind == kindClaim && group == groupResources:
		return s.addClaim(where, object)
	case object.Kind == kindSlice && group == groupResources:
		return s.addSlice(where, object, data)
	case object.Kind == kindNetwork && group == groupNetworks:
		return s.addNetwork(where, object)
	}
	return nil
}

func (s *manifestSet) addList(where string, list manifest) error {
	var items []json.RawMessage
	if err := json.Unmarshal(list.Items, &items); err != nil {
		return fmt.Errorf("items: %w", err)
	}
	var inherited manifest
	if kind := strings.TrimSuffix(list.Kind, listSuffix); kind != "" {
		inherited = manifest{APIVersion: list.APIVersion, Kind: kind}
	}
	for i, item := range items {
		if err := s.addObject(where, item, inherited); err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return nil
}

func (s *manifestSet) addPod(where string, object manifest) error {
	ref, meta, err := s.define(where, object)
	if err != nil {
		return err
	}
	var claims podClaims
	if err := object.decode(ref, &claims.Spec, &claims.Status); err != nil {
		return err
	}
	s.pods[ref], s.specs[ref], s.podClaims[ref] = PodObject{UID: meta.UID, Annotations: meta.Annotations}, object.Spec, claims
	return nil
}

// addClaim adds a ResourceClaim, with what it allocates.
func (s *manifestSet) addClaim(where string, object manifest) error {
	ref, _, err := s.define(where, object)
	if err != nil {
		return err
	}
	var claim claimObject
	err = object.decode(ref, &claim.Spec, &claim.Status)
	s.claims[ref] = claim
	return err
}

// addSlice adds a ResourceSlice.
func (s *manifestSet) addSlice(where string, object manifest, data []byte) error {
	ref, _, err := s.define(where, object)
	if err != nil {
		return err
	}
	var slice Slice
	if err := json.Unmarshal(data, &slice); err != nil {
		return fmt.Errorf("%s %s: %w", object.Kind, ref.Name, err)
	}
	s.slices = append(s.slices, slice)
	return nil
}

// describe describes devices by the slices that there are.
func (s *manifestSet) describe(devices []types.ClaimedDevice) error {
	for i := range devices {
		found, err := Describe(&devices[i], s.slices)
		if err == nil && !found {
			err = fmt.Errorf("%s: no ResourceSlice has it", &devices[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decode reads the parts of an object that are there.
func (m *manifest) decode(ref types.Ref, spec, status any) error {
	for _, part := range []struct {
		name string
		text json.RawMessage
		into any
	}{{"spec", m.Spec, spec}, {"status", m.Status, status}} {
		if len(part.text) == 0 {
			continue
		}
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return fmt.Errorf("%s %s: %s: %w", m.Kind, ref, part.name, err)
		}
	}
	return nil
}

func (s *manifestSet) addNetwork(where string, object manifest) error {
	ref, meta, err := s.define(where, object)
	if err != nil {
		return err
	}
	var spec networkSpec
	if len(object.Spec) > 0 {
		if err := json.Unmarshal(object.Spec, &spec); err != nil {
			return fmt.Errorf("%s %s: spec: %w", object.Kind, ref, err)
		}
	}
	s.networks[ref] = types.Network{Ref: ref, Config: spec.Config, ResourceName: meta.Annotations[types.AnnotationResourceName], Claim: meta.Annotations[types.AnnotationClaim]}
	return nil
}

// define reads an object's metadata and notes where it is defined. A second object of the
// same name is an error, because neither is the right one.
func (s *manifestSet) define(where string, object manifest) (types.Ref, *manifestMeta, error) {
	var meta manifestMeta
	if len(object.Metadata) > 0 {
		if err := json.Unmarshal(object.Metadata, &meta); err != nil {
			return types.Ref{}, nil, fmt.Errorf("%s: metadata: %w", object.Kind, err)
		}
	}
	if meta.Name == "" {
		return types.Ref{}, nil, fmt.Errorf("%s: metadata.name is missing", object.Kind)
	}
	ref := types.Ref{Namespace: meta.Namespace, Name: meta.Name}
	if ref.Namespace == "" {
		ref.Namespace = defaultNamespace
	}
	key := object.Kind + " " + ref.String()
	if other, twice := s.where[key]; twice {
		return types.Ref{}, nil, fmt.Errorf("%s is defined already, in %s", key, other)
	}
	s.where[key] = where
	return ref, &meta, nil
}
