package inspect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Redactor replaces what identifies somebody: addresses, MACs and names. The same text gets the
// same replacement in all Snapshots of one Redactor, and of others with its key. What it
// does not know it replaces: a field that is new leaks nothing.
type Redactor struct {
	key   []byte
	names map[string]string
}

// NewRedactor makes a Redactor. Whoever has the key can try out which names were replaced.
func NewRedactor(key []byte) *Redactor { return &Redactor{key: key, names: map[string]string{}} }

// Snapshot gives a copy with replacements in it.
func (r *Redactor) Snapshot(s *Snapshot) (*Snapshot, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("copy the snapshot: %w", err)
	}
	redacted := New()
	if err := json.Unmarshal(data, redacted); err != nil {
		return nil, fmt.Errorf("copy the snapshot: %w", err)
	}
	for i := range redacted.Namespaces { // whatever else has the name of an interface gets the same
		for j := range redacted.Namespaces[i].Links {
			r.link(redacted.Namespaces[i].Links[j].Name)
		}
	}
	r.walk("", reflect.ValueOf(redacted).Elem())
	redacted.APIVersion, redacted.Kind, redacted.Redacted = APIVersion, Kind, true
	return redacted, nil
}

// Subject replaces what a command names: a pod as NAMESPACE/POD, a path, an address.
func (r *Redactor) Subject(text string) string {
	if _, err := netip.ParseAddr(text); err == nil || strings.HasPrefix(text, "/") {
		return r.any(text)
	}
	return r.qualified("pod", text)
}

// walk replaces what is in a value; field is the JSON name of the field that has it.
func (r *Redactor) walk(field string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.text(field, v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			r.walk(field, v.Elem())
		}
	case reflect.Interface:
		v.SetZero() // anything may be in it
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 { // a text of a kind that is not known here
			v.SetZero()
			return
		}
		for i := range v.Len() {
			r.walk(field, v.Index(i))
		}
	case reflect.Map:
		r.walkMap(field, v)
	case reflect.Struct:
		r.walkStruct(field, v)
	}
}

func (r *Redactor) walkStruct(field string, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" {
			name = field
		}
		r.walk(name, v.Field(i))
	}
}

func (r *Redactor) walkMap(field string, v reflect.Value) {
	if v.IsNil() {
		return
	}
	redacted := reflect.MakeMapWithSize(v.Type(), v.Len())
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(v.MapIndex(key))
		r.walk(field, value)
		if key.Kind() == reflect.String {
			key = reflect.ValueOf(r.mapKey(field, key.String())).Convert(v.Type().Key())
		}
		redacted.SetMapIndex(key, value)
	}
	v.Set(redacted)
}

// mapKey replaces the key of a map. A sysctl has the name of an interface in it.
func (r *Redactor) mapKey(field, key string) string {
	found := sysctlKey.FindStringSubmatch(key)
	switch {
	case field == "counters" && counterName.MatchString(key), field == "offloads" && offloadName.MatchString(key):
		return key
	case field != "sysctls" || found == nil:
		return r.any(key)
	}
	if found[3] == "" {
		return key
	}
	return found[1] + strings.ReplaceAll(r.link(strings.ReplaceAll(found[3], "/", ".")), ".", "/") + found[4]
}

// sysctlKey matches the name of a sysctl: of one interface, or of a namespace.
var sysctlKey = regexp.MustCompile(`^(net\.[a-z0-9]+\.(conf|neigh)\.)([^.]+)(\.[a-z0-9_]+)$|^net\.[a-z0-9]+\.[a-z0-9_-]+$`)

// counterName and offloadName match what the kernel calls its counters, and the features of devices.
var (
	counterName = regexp.MustCompile(`^(Ip|Ip6|Icmp|Icmp6|Tcp|Udp|Udp6|UdpLite|TcpExt|IpExt)[A-Z][A-Za-z0-9]+$`)
	offloadName = regexp.MustCompile(`^(rx|tx|generic|tcp|udp|scatter|large|ntuple|receive|highdma|esp|l2|vlan|hw|macsec|fcoe|loopback|netns|busy)(-[a-z0-9]+)*$`)
)

// text replaces a text by what the field says of it.
func (r *Redactor) text(field, text string) string {
	switch {
	case text == "":
		return ""
	case field == "pod", field == "network":
		return r.qualified(field, text)
	case field == "hostname", field == "node":
		return r.name("node", text)
	case field == "containerID":
		return r.name("container", text)
	case field == "bootID":
		return r.name("boot", text)
	case field == "closed": // a chain, with its table
		words := strings.Fields(text)
		for i := range words {
			words[i] = r.any(words[i])
		}
		return strings.Join(words, " ")
	case field == "kernel":
		return kernelVersion.FindString(text)
	case slices.Contains([]string{"name", "interface", "iif", "oif", "pf"}, field):
		return r.link(text)
	case field == "address" && !isPublic(text):
		return r.address(text, false)
	}
	return r.any(text)
}

var kernelVersion = regexp.MustCompile(`^[0-9]{1,2}\.[0-9]{1,3}(\.[0-9]{1,4})?`)

// any replaces a text of which only its form is known. A path and a sentence have parts that are.
func (r *Redactor) any(text string) string {
	switch {
	case isPublic(text):
		return text
	case mac.MatchString(text):
		return r.mac(text)
	case strings.HasPrefix(text, "/"):
		return r.path(text)
	case strings.ContainsAny(text, " \t\n{}\""):
		return r.sentence(text)
	}
	return r.address(text, true)
}

// qualified replaces NAMESPACE/NAME.
func (r *Redactor) qualified(class, text string) string {
	namespace, name, found := strings.Cut(text, "/")
	if !found {
		return r.name(class, text)
	}
	if namespace != "default" && namespace != "kube-system" {
		namespace = r.name("namespace", namespace)
	}
	return namespace + "/" + r.name(class, name)
}

// link replaces the name of an interface, unless every machine has such a one.
func (r *Redactor) link(name string) string {
	if commonLink.MatchString(name) || name == "" {
		return name
	}
	return r.name("if", name)
}

var commonLink = regexp.MustCompile(`^(lo|eth[0-9]+|net[0-9]+|all|default)$`)

// name replaces a name. The class says what it was of, where it was met first.
func (r *Redactor) name(class, name string) string {
	if known, found := r.names[name]; found {
		return known
	}
	r.names[name] = fmt.Sprintf("%s-%x", class, r.hash("name", name)[:4]) // at most 15 bytes for an interface
	return r.names[name]
}

func (r *Redactor) hash(of, text string) []byte {
	code := hmac.New(sha256.New, r.key)
	_, _ = code.Write([]byte(of + " " + text))
	return code.Sum(nil)
}

// path replaces the parts of a path that are not the same everywhere.
func (r *Redactor) path(text string) string {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		if part != "" && !commonFolders[part] && !number.MatchString(part) {
			parts[i] = r.name("file", part)
		}
	}
	return strings.Join(parts, "/")
}

var number = regexp.MustCompile(`^[0-9]+$`)

// sentence keeps of a sentence only what is known to name nobody. Of nftables it is a family and a table.
func (r *Redactor) sentence(text string) string {
	family, table, _ := strings.Cut(text, " ")
	if slices.Contains([]string{"ip", "ip6", "inet", "arp", "bridge", "netdev"}, family) && !strings.Contains(table, " ") {
		return family + " " + r.any(table)
	}
	var kept []string
	for _, phrase := range publicPhrases {
		if strings.Contains(text, phrase) {
			kept = append(kept, phrase)
		}
	}
	return strings.Join(append(kept, "(redacted)"), ", ")
}
