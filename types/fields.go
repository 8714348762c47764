package types

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	known  map[string]bool
	odd    []string // what deserves a warning, besides unknown keys
	faults []error
}

// newObject decodes data as one JSON object. Nothing may follow it.
func newObject(path string, data []byte) (*object, error) {
	o := &object{path: path, known: map[string]bool{}}
	if err := unmarshalObject(data, &o.raw); err != nil {
		return nil, &FieldError{Field: path, Problem: err.Error()}
	}
	o.refuseTwins()
	return o, nil
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

// refuseTwins finds keys that differ only in case: which of them counts depends on
// the reader, so that a plugin could run what a check has not seen.
func (o *object) refuseTwins() {
	seen := make(map[string]string, len(o.raw))
	for _, key := range o.keys() {
		folded := strings.Map(foldRune, key)
		if first, twin := seen[folded]; twin {
			o.fault(first, fmt.Sprintf("stands beside %q, which names the same field", key))
		}
		seen[folded] = key
	}
}

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
	o.known[key] = true
	value, ok := o.raw[key]
	if !ok {
		for candidate, v := range o.raw {
			if equalKey(candidate, key) {
				value, ok = v, true
			}
		}
	}
	if !ok || string(value) == "null" {
		return nil, false
	}
	return value, true
}

// unknown gives the keys that were never read, sorted.
func (o *object) unknown() []string {
	unknown := o.odd
	for _, key := range o.keys() {
		if !o.isKnown(key) {
			unknown = append(unknown, brief(key).String())
		}
	}
	return unknown
}

func (o *object) isKnown(key string) bool {
	if o.known[key] {
		return true
	}
	for known := range o.known {
		if equalKey(known, key) {
			return true
		}
	}
	return false
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
	for candidate, value := range o.raw {
		if equalKey(candidate, key) && string(value) == "null" {
			o.known[key] = true
			return true
		}
	}
	return false
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
