package vhostuser

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// fields reads a JSON object field by field, so that every fault is found and named.
type fields struct {
	path   string // prefix of the names in faults, "" at the top
	raw    map[string]json.RawMessage
	known  map[string]bool
	faults *[]error
}

func newFields(data []byte, faults *[]error) *fields {
	f := &fields{known: map[string]bool{}, faults: faults}
	if err := json.Unmarshal(data, &f.raw); err != nil || f.raw == nil {
		f.fault("", "must be a JSON object")
	}
	return f
}

func (f *fields) fault(key, format string, args ...any) {
	field := key
	if f.path != "" {
		field = strings.TrimSuffix(f.path+"."+key, ".")
	}
	*f.faults = append(*f.faults, &types.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// has reports whether a field is there; null is the same as no field.
func (f *fields) has(key string) bool {
	f.known[key] = true
	value, ok := f.raw[key]
	return ok && string(value) != "null"
}

// isNull reports whether a field is there, and null.
func (f *fields) isNull(key string) bool { return string(f.raw[key]) == "null" }

// read decodes a field into dst if it is there, and reports whether it was there and of
// the right type.
func read[T any](f *fields, key, wanted string, dst *T) bool {
	if !f.has(key) {
		return false
	}
	var value T
	if err := json.Unmarshal(f.raw[key], &value); err != nil {
		f.fault(key, "must be %s", wanted)
		return false
	}
	*dst = value
	return true
}

func (f *fields) text(key string, dst *string) bool { return read(f, key, "a string", dst) }

// number reads a whole number within bounds.
func (f *fields) number(key string, low, high int, dst *int) {
	var value int
	if !read(f, key, "a whole number", &value) {
		return
	}
	if value < low || value > high {
		f.fault(key, "must be between %d and %d, is %d", low, high, value)
		return
	}
	*dst = value
}

// choice reads a string that must be one of a few.
func (f *fields) choice(key string, allowed ...string) {
	var value string
	if f.text(key, &value) && !slices.Contains(allowed, value) {
		f.fault(key, "must be one of %q, is %q", allowed, cut(value))
	}
}

// object gives the fields of an object inside; there are none if it is not there.
func (f *fields) object(key string) *fields {
	inner := &fields{path: strings.TrimPrefix(f.path+"."+key, "."), known: map[string]bool{}, faults: f.faults}
	read(f, key, "an object", &inner.raw)
	return inner
}

// ignore knows fields that mean nothing here.
func (f *fields) ignore(keys ...string) {
	for _, key := range keys {
		f.known[key] = true
	}
}

// refuseUnknown makes a fault of every field that nobody asked for: a misspelt VLAN is
// a pod in the wrong network.
func (f *fields) refuseUnknown() {
	for _, key := range slices.Sorted(maps.Keys(f.raw)) {
		if !f.known[key] && !strings.Contains(key, "/") {
			f.fault(cut(key), "is not a key of this plugin")
		}
	}
}

// cut is the beginning of what a user wrote, short enough for a message.
func cut(text string) string {
	const enough = 100
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "") + "…"
}
