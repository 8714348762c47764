package types

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
)

// CheckResult reports every field of a CNI result that nobody could read: not libcni, or not
// a runtime, or neither of them once libcni has printed it again. It says nothing about
// fields that it does not know. The version is the result's own.
func CheckResult(data []byte, version string) error {
	o, err := newObject("", data)
	if err != nil {
		return err
	}
	known := AllCNIVersions()
	switch {
	case !slices.Contains(known, version):
		o.fault("cniVersion", fmt.Sprintf("%q is not one of %s", version, strings.Join(known, ", ")))
	case IsOldVersion(version):
		checkInner(o, "ip4", checkOldIP)
		checkInner(o, "ip6", checkOldIP)
	default:
		checkElements(o, "interfaces", func(e *object) { checkResultInterface(e, version) })
		checkElements(o, "ips", func(e *object) { checkResultIP(e, version) })
		checkElements(o, "routes", checkResultRoute)
	}
	checkInner(o, "dns", checkDNS)
	return o.err()
}

// checkElements checks each element of a list.
func checkElements(o *object, key string, check func(*object)) {
	var elements []json.RawMessage
	read(o, key, &elements)
	for i, raw := range elements {
		checkObject(o, fmt.Sprintf("%s[%d]", key, i), raw, check)
	}
}

// checkInner checks the object of a field, if it is there.
func checkInner(o *object, key string, check func(*object)) {
	if raw, ok := o.get(key); ok {
		checkObject(o, key, raw, check)
	}
}

func checkObject(o *object, field string, raw json.RawMessage, check func(*object)) {
	inner, err := newObject(join(o.path, field), raw)
	if err != nil {
		o.faults = append(o.faults, err)
		return
	}
	check(inner)
	o.faults = append(o.faults, inner.faults...)
}

func checkResultInterface(o *object, version string) {
	var name string
	if _, given := o.get("name"); read(o, "name", &name) && name == "" || !given {
		o.fault("name", "is missing")
	}
	checkStrings(o, "mac", "sandbox")
	if version >= "1.0.0" { // before, nobody reads them
		checkNumbers(o, "mtu")
		checkStrings(o, "socketPath", "pciID")
	}
}

// checkResultIP takes any index: one of no interface of the list means none.
func checkResultIP(o *object, version string) {
	checkCIDR(o, "address")
	checkGateway(o, "gateway")
	var index int
	read(o, "interface", &index)
	if version < "1.0.0" {
		checkStrings(o, "version")
	}
}

func checkOldIP(o *object) {
	checkCIDR(o, "ip")
	checkGateway(o, "gateway")
	checkElements(o, "routes", checkResultRoute)
}

func checkResultRoute(o *object) {
	checkCIDR(o, "dst")
	checkGateway(o, "gw")
	checkNumbers(o, "mtu", "advmss", "priority", "table", "scope")
}

func checkDNS(o *object) {
	checkStrings(o, "domain")
	for _, key := range []string{"nameservers", "search", "options"} {
		var list []string
		read(o, key, &list)
	}
}

func checkStrings(o *object, keys ...string) {
	for _, key := range keys {
		var text string
		read(o, key, &text)
	}
}

// checkNumbers refuses what the kernel has no room for: libcni prints it as another number.
func checkNumbers(o *object, keys ...string) {
	for _, key := range keys {
		var number int64
		if read(o, key, &number) && (number > 1<<32-1 || number < -1<<31) {
			o.fault(key, fmt.Sprintf("is %d, which has more than 32 bits", number))
		}
	}
}

// checkCIDR demands an address with its prefix length. Of an IPv4 address that is written
// as an IPv6 one, libcni prints the IPv4 part.
func checkCIDR(o *object, key string) {
	var text string
	if _, given := o.get(key); !given {
		o.fault(key, "is missing")
	}
	if !read(o, key, &text) {
		return
	}
	ip, prefix, err := net.ParseCIDR(text)
	if err != nil {
		o.fault(key, fmt.Sprintf("%q is not an address with a prefix length, as 192.0.2.7/24", brief(text)))
		return
	}
	if ones, bits := prefix.Mask.Size(); ip.To4() != nil && bits == 128 && ones < 96 {
		o.fault(key, fmt.Sprintf("%q is an IPv4 address, whose prefix as an IPv6 address must be /96 or longer", brief(text)))
	}
}

// checkGateway takes the empty string for none, as libcni does.
func checkGateway(o *object, key string) {
	var text string
	if read(o, key, &text) && text != "" && net.ParseIP(text) == nil {
		o.fault(key, fmt.Sprintf("%q is not an IP address", brief(text)))
	}
}
