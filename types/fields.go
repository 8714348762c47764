package types

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode"
)

// object is a JSON object being read field by field, so that every fault is found
// and named. Keys match as encoding/json matches them, exactly or else without
// regard to case, because that is how the readers of today's files match them.
type object struct {
	path   string // prefix of the names in errors, "" at the top
	raw    map[string]json.RawMessage
	names  map[string]string // the key of raw, by its folded form
	known  map[string]string // the fields that were asked for, by their folded form
	odd    []string          // what deserves a warning, besides unknown keys
	faults []error
}

// newObject decodes data as one JSON object. Nothing may follow it.
func newObject(path string, data []byte) (*object, error) {
	var raw map[string]json.RawMessage
	if err := unmarshalObject(data, &raw); err != nil {
		return nil, &FieldError{Field: path, Problem: err.Error()}
	}
	return objectOf(path, raw), nil
}

// objectOf gives the object with these fields, which must stay as they are while it is
// read. An annotation has room for 28,000 keys, so that no step may go through all of
// them for each of them.
func objectOf(path string, raw map[string]json.RawMessage) *object {
	o := &object{path: path, raw: raw, known: map[string]string{}}
	o.index()
	return o
}

// anew gives the object with none of its fields read, and no faults.
func (o *object) anew() *object {
	return &object{raw: o.raw, names: o.names, known: map[string]string{}}
}

func unmarshalObject(data []byte, into *map[string]json.RawMessage) error {
	if kind := kindOf(data); kind != "an object" {
		return fmt.Errorf("must be a JSON object, got %s", kind)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("is not valid JSON: %w", err)
	}
	return nil
}

// index finds the keys by their folded form. Keys that differ only in case are faults:
// which of them counts depends on the reader, so that a plugin could run what a check
// has not seen.
func (o *object) index() {
	o.names = make(map[string]string, len(o.raw))
	for _, key := range o.keys() {
		folded := fold(key)
		if first, twin := o.names[folded]; twin {
			o.fault(brief(first).String(), fmt.Sprintf("stands beside %q, which names the same field", brief(key)))
		}
		o.names[folded] = key
	}
}

// fold gives the keys that equalKey takes for one the same form.
func fold(key string) string { return strings.Map(foldRune, key) }

// foldRune gives the runes that equalKey takes for one the same form.
func foldRune(r rune) rune {
	for next := unicode.SimpleFold(r); next > r; next = unicode.SimpleFold(r) {
		r = next
	}
	return r
}

// keys gives the keys of the object, sorted.
func (o *object) keys() []string {
	keys := make([]string, 0, len(o.raw))
	for key := range o.raw {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// get gives the value of a field; an explicit null is the same as no field.
func (o *object) get(key string) (json.RawMessage, bool) {
	folded := fold(key)
	o.known[folded] = key
	value, ok := o.raw[key]
	if name, given := o.names[folded]; !ok && given {
		value, ok = o.raw[name], true
	}
	if !ok || string(value) == "null" {
		return nil, false
	}
	return value, true
}

// unknown gives the keys that were never read, sorted.
func (o *object) unknown() []string {
	return o.unread(func(key string) string { return brief(key).String() })
}

// misspelt is unknown with the nearest known key of each. It is for what an operator writes: an
// annotation may have too many keys for it.
func (o *object) misspelt() []string {
	known := slices.Collect(maps.Values(o.known))
	return o.unread(func(key string) string { return UnknownKey(key, known) })
}

func (o *object) unread(describe func(key string) string) []string {
	unread := o.odd
	for _, key := range o.keys() {
		if _, known := o.known[fold(key)]; !known {
			unread = append(unread, describe(key))
		}
	}
	return unread
}

func (o *object) fault(field, problem string) {
	o.faults = append(o.faults, &FieldError{Field: join(o.path, field), Problem: problem})
}

func (o *object) err() error { return Join(o.faults...) }

// read decodes a field into dst if it is there, and reports whether it was there and
// right. A value of the wrong type is a fault that names the field.
func read[T any](o *object, key string, dst *T) bool {
	value, ok := o.get(key)
	if !ok {
		return false
	}
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		o.fault(key, wrongType(err, value))
		return false
	}
	*dst = v
	return true
}

// isNull reports whether a field is there, and null.
func (o *object) isNull(key string) bool {
	folded := fold(key)
	name, given := o.names[folded]
	if !given || string(o.raw[name]) != "null" {
		return false
	}
	o.known[folded] = key
	return true
}

// wrongType describes what was expected and what was there. The value itself
// is not repeated: it may be large, or a secret.
func wrongType(err error, value json.RawMessage) string {
	var typeErr *json.UnmarshalTypeError
	if !errors.As(err, &typeErr) {
		return err.Error()
	}
	where := ""
	if typeErr.Field != "" {
		where = " (at " + typeErr.Field + ")"
	}
	got := kindOf(value)
	if typeErr.Value != "" && where != "" || got == "an array" || got == "an object" {
		got = "a JSON " + typeErr.Value
	}
	return fmt.Sprintf("must be %s, got %s%s", goKind(typeErr.Type.Kind().String()), got, where)
}

func goKind(kind string) string {
	switch {
	case kind == "string":
		return "a string"
	case kind == "bool":
		return "true or false"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "slice":
		return "an array"
	default:
		return "an object"
	}
}

// kindOf names the kind of a JSON value by its first byte.
func kindOf(data []byte) string {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 {
		return "nothing"
	}
	switch trimmed[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// equalKey reports whether encoding/json takes two keys for the same field.
func equalKey(a, b string) bool { return strings.EqualFold(a, b) }
