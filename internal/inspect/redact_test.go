package inspect

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func redacted(t *testing.T, s *Snapshot, key string) *Snapshot {
	t.Helper()
	r, err := NewRedactor([]byte(key)).Snapshot(s)
	check.Must(t, err)
	return r
}

// Every text of a Snapshot is a canary of its own, and so are those of fields that come later.
func TestRedactedLeaksNothing(t *testing.T) {
	for name, plant := range map[string]func(n int) string{
		"names":       func(n int) string { return "canary" + strconv.Itoa(n) },
		"qualified":   func(n int) string { return "canary" + strconv.Itoa(n) + "/canary" + strconv.Itoa(n+1000) },
		"paths":       func(n int) string { return "/run/netns/canary" + strconv.Itoa(n) },
		"sentences":   func(n int) string { return "open canary" + strconv.Itoa(n) + ": permission denied" },
		"tables":      func(n int) string { return "ip canary" + strconv.Itoa(n) },
		"JSON":        func(n int) string { return `{"canary":"canary` + strconv.Itoa(n) + `"}` },
		"capitals":    func(n int) string { return "CANARY" + strconv.Itoa(n) },
		"addresses":   func(n int) string { return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}).String() },
		"subnets":     func(n int) string { return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}).String() + "/24" },
		"addresses 6": func(n int) string { return "2001:db8:77aa::" + strconv.Itoa(n+1) },
		"of a MAC":    func(n int) string { return "fe80::77:aaff:fe00:" + strconv.Itoa(n+1) },
		"with a port": func(n int) string { return "[2001:db8:77aa::" + strconv.Itoa(n+1) + "]:53" },
		"MACs": func(n int) string {
			return "be:ef:77:aa:00:" + string("0123456789abcdef"[n/16%16]) + string("0123456789abcdef"[n%16])
		},
		"MAC of group": func(n int) string {
			return "33:33:77:aa:00:" + string("0123456789abcdef"[n/16%16]) + string("0123456789abcdef"[n%16])
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, next := New(), 0
			fill(reflect.ValueOf(s).Elem(), func() string { next++; return plant(next % 200) })
			data, err := json.Marshal(redacted(t, s, "k"))
			check.Must(t, err)
			check.Equal(t, "there were many", next > 60, true)
			for _, canary := range []string{"canary", "CANARY", "203.0.113.", "77aa", "77:aa", "be:ef"} {
				if at := strings.Index(string(data), canary); at >= 0 {
					t.Errorf("%s leaks: %s", canary, data[max(0, at-60):min(len(data), at+60)])
				}
			}
		})
	}
}

// fill puts a text into every field, and two elements into every list.
func fill(v reflect.Value, text func() string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text())
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(strconv.Quote(text())))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{text(), "net.ipv4.conf." + text() + ".rp_filter"} {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, text)
			v.SetMapIndex(reflect.ValueOf(key), value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	}
}

// The same is wrong with a redacted node, at the same places; only the names are others.
func TestRedactedFindings(t *testing.T) {
	for _, test := range findingCases {
		s := healthy()
		test.breakIt(s)
		sameFindings(t, s)
	}
	data, err := os.ReadFile("testdata/host-end-off-bridge.json")
	check.Must(t, err)
	s, err := Parse(data)
	check.Must(t, err)
	sameFindings(t, s)
}

func sameFindings(t *testing.T, s *Snapshot) {
	t.Helper()
	copied := redacted(t, s, "k")
	data, err := copied.Bytes()
	check.Must(t, err)
	_, err = Parse(data)
	check.Must(t, err)
	check.Equal(t, "findings", places(Findings(copied)), places(Findings(s)))
	states := func(s *Snapshot) (all []State) {
		for _, item := range NewAttachedList(s, everything).Items {
			all = append(all, item.State)
		}
		slices.Sort(all) // they are by the names of pods
		return all
	}
	check.Equal(t, "states of attachments", states(copied), states(s))
}

// places leaves the names out of findings.
func places(findings []Finding) []Finding {
	for i := range findings {
		findings[i].Text, findings[i].Do = "", ""
		for j := range findings[i].Evidence {
			findings[i].Evidence[j].Field, _, _ = strings.Cut(findings[i].Evidence[j].Field, "[")
			findings[i].Evidence[j].Value = ""
		}
	}
	return findings
}

// What is the same within a subnet stays the same, and what kind an address is of is still to be seen.
func TestRedactedAddresses(t *testing.T) {
	r := NewRedactor([]byte("k"))
	for _, pair := range [][2]string{
		{"10.244.1.1", "10.244.1.77"},
		{"10.244.1.1", "10.244.2.1"},
		{"198.51.100.7", "198.51.100.6"},
		{"192.0.2.0", "192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2::2"},
		{"2001:db8:1:2::1", "2001:db8:1:3::1"},
		{"fe80::1", "fe80::2"},
		{"fd00::1", "fd00::2"},
	} {
		a, b := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
		check.Equal(t, strings.Join(pair[:], " "), common(r.addr(a), r.addr(b)), common(a, b))
		check.Equal(t, "private "+pair[0], r.addr(a).IsPrivate(), a.IsPrivate())
		check.Equal(t, "link-local "+pair[0], r.addr(a).IsLinkLocalUnicast(), a.IsLinkLocalUnicast())
	}
	for _, same := range []string{"default", "0.0.0.0/0", "::/0", "127.0.0.1/8", "::1/128", "ff00::/8", "ff02::1", "224.0.0.1", "255.255.255.255"} {
		check.Equal(t, same, r.any(same), same)
	}
	host, network := r.address("10.244.1.1/24", false), r.address("10.244.1.0/24", true)
	check.Equal(t, "the network of "+host, netip.MustParsePrefix(host).Masked().String(), network)
	check.Equal(t, "an end of a /31", r.address("192.0.2.6/31", true), r.address("192.0.2.6", true)+"/31")
}

// common counts the bits that two addresses begin with.
func common(a, b netip.Addr) int {
	for bits := a.BitLen(); bits > 0; bits-- {
		if p, _ := a.Prefix(bits); p.Contains(b) {
			return bits
		}
	}
	return 0
}

// With the same key two files have the same names, and with another one others.
func TestRedactedByKey(t *testing.T) {
	one, same, other := redacted(t, healthy(), "k"), redacted(t, healthy(), "k"), redacted(t, healthy(), "l")
	check.Equal(t, "with the same key", same, one)
	check.Equal(t, "with another key", other.Machine.Hostname == one.Machine.Hostname, false)
	check.Equal(t, "length of the name of an interface", len(one.Namespaces[0].Links[0].Name) <= 15, true)
	for _, ns := range one.Namespaces { // what refers to an interface by its name still does
		for key := range ns.Sysctls {
			name := strings.Split(key, ".")[3]
			check.Equal(t, key, name == "all" || ns.LinkNamed(name) != nil, true)
		}
	}
	check.Equal(t, "the original", healthy().Machine.Hostname, "node1")
}
