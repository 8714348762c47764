package types

import (
	"fmt"
	"strings"
	"unicode"
)

// maxInterfaceName is the kernel's IFNAMSIZ less its terminating byte.
const maxInterfaceName = 15

// CheckInterfaceName says why name cannot be the name of an interface in a pod, or
// nil. These are the kernel's own rules (dev_valid_name), and `lo`, which every
// network namespace has.
func CheckInterfaceName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("an interface name must not be empty")
	case len(name) > maxInterfaceName:
		return fmt.Errorf("interface name %q has %d bytes, the kernel takes at most %d", brief(name), len(name), maxInterfaceName)
	case name == "." || name == "..":
		return fmt.Errorf("interface name %q is refused by the kernel", brief(name))
	case name == "lo":
		return fmt.Errorf("interface name %q is the loopback's, which every pod has", brief(name))
	case strings.ContainsFunc(name, badInInterface):
		return fmt.Errorf("interface name %q has a character that the kernel refuses: no '/', ':', '%%', space or unprintable character may be in it", brief(name))
	}
	return nil
}

// checkRequestedName says why an annotation cannot ask for an interface of this name. The
// kernel takes a '@', but the short form and the tools that list interfaces separate
// names with it.
func checkRequestedName(name string) error {
	if strings.Contains(name, "@") {
		return fmt.Errorf("interface name %q has a '@' in it, which separates the interface from the network", brief(name))
	}
	return CheckInterfaceName(name)
}

func badInInterface(r rune) bool {
	return r == '/' || r == ':' || r == '%' || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// checkLabel says why s is not a DNS-1123 label (multi-network specification 3.3).
func checkLabel(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s must not be empty", what)
	case len(s) > 63:
		return fmt.Errorf("%s %q has %d characters, a DNS-1123 label at most 63", what, brief(s), len(s))
	case strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Errorf("%s %q is not a DNS-1123 label: lower case letters, digits and '-', starting and ending with a letter or digit", what, brief(s))
	}
	return nil
}

// checkNetworkName says why s cannot be the name of a NetworkAttachmentDefinition:
// one DNS-1123 label or, as Kubernetes allows for any object, several with dots.
func checkNetworkName(s string) error {
	if len(s) > 253 {
		return fmt.Errorf("network name %q has %d characters, Kubernetes allows 253", brief(s), len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel("network name", label); err != nil {
			return err
		}
	}
	return nil
}

// Ref names a NetworkAttachmentDefinition.
type Ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String gives "namespace/name", the form of annotations and status.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// ParseRef reads "name" or "namespace/name"; the namespace defaults to the one given.
func ParseRef(s, defaultNamespace string) (Ref, error) {
	ref := Ref{Namespace: defaultNamespace, Name: s}
	if namespace, name, found := strings.Cut(s, "/"); found {
		if err := checkLabel("namespace", namespace); err != nil {
			return Ref{}, err
		}
		ref = Ref{Namespace: namespace, Name: name}
	}
	return ref, checkNetworkName(ref.Name)
}

// brief is what a user wrote, on its way into a message: cut, because it may be as long
// as an annotation.
type brief string

// String gives the beginning of it.
func (b brief) String() string {
	const enough = 100
	if len(b) <= enough {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:enough]), "") + "…"
}
