package types

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// parseJSONForm reads the JSON list form, section 4.1.2.
func parseJSONForm(value, namespace string) ([]Selection, []string, error) {
	if kind := kindOf([]byte(value)); kind != "an array" {
		return nil, nil, fmt.Errorf("must be a JSON array of networks or a list as \"net-a,ns/net-b@eth1\", got %s", kind)
	}
	var elements []json.RawMessage
	if err := json.Unmarshal([]byte(value), &elements); err != nil {
		return nil, nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	if len(elements) > MaxNetworks {
		return nil, nil, tooMany(len(elements))
	}
	selections := make([]Selection, 0, len(elements))
	var unknown []string
	var faults []error
	for i, element := range elements {
		s, more, err := parseElement(element, namespace)
		if err != nil {
			faults = append(faults, &ElementError{Index: i, Network: nameOf(s), Err: err})
			continue
		}
		selections = append(selections, s)
		for _, key := range more {
			unknown = append(unknown, (&ElementError{Index: i, Network: nameOf(s), Err: errors.New(key)}).Error())
		}
	}
	return selections, unknown, Join(faults...)
}

func nameOf(s Selection) string {
	if s.Name == "" {
		return ""
	}
	return brief(s.Ref().String()).String()
}

func parseElement(data json.RawMessage, namespace string) (Selection, []string, error) {
	o, err := newObject("", data)
	if err != nil {
		return Selection{}, nil, err
	}
	s := Selection{Namespace: namespace}
	readNames(o, &s)
	readIPs(o, &s)
	readHardware(o, &s)
	readPortMappings(o, &s)
	readBandwidth(o, &s)
	readDefaultRoute(o, &s)
	read(o, "deviceID", &s.DeviceID)
	readClaim(o, &s)
	readCNIArgs(o, &s)
	read(o, "ipam-claim-reference", &s.IPAMClaim)
	if s.IPAMClaim != "" && len(s.IPs) > 0 {
		o.fault("ipam-claim-reference", "cannot be combined with ips: the claim gives the addresses (section 4.1.2.1.11)")
	}
	return s, o.unknown(), o.err()
}

func readClaim(o *object, s *Selection) {
	read(o, AnnotationClaim, &s.Claim)
	if s.Claim == "" {
		return
	}
	if _, err := ParseClaimRequest(s.Claim); err != nil {
		o.fault(AnnotationClaim, err.Error())
	}
	if s.DeviceID != "" {
		o.fault(AnnotationClaim, "cannot be combined with deviceID: the claim gives the device")
	}
}

func readCNIArgs(o *object, s *Selection) {
	read(o, "cni-args", &s.CNIArgs)
	if o.checkCount("cni-args", len(s.CNIArgs)) {
		return
	}
	o.faults = append(o.faults, objectOf("cni-args", s.CNIArgs).faults...)
	for key, value := range s.CNIArgs {
		s.CNIArgs[key] = compact(value)
	}
}

func compact(value json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, value) != nil {
		return value
	}
	return b.Bytes()
}

func readNames(o *object, s *Selection) {
	if !read(o, "name", &s.Name) {
		if _, given := o.get("name"); !given {
			o.fault("name", "is missing")
		}
	} else if err := checkNetworkName(s.Name); err != nil {
		o.fault("name", err.Error())
	}
	var namespace string
	if read(o, "namespace", &namespace) && namespace != "" {
		if err := checkLabel("namespace", namespace); err != nil {
			o.fault("namespace", err.Error())
		}
		s.Namespace = namespace
	}
	var deprecated string
	read(o, "interfaceRequest", &deprecated)
	if !read(o, "interface", &s.Interface) || s.Interface == "" {
		s.Interface = deprecated
	}
	if s.Interface != "" {
		if err := checkRequestedName(s.Interface); err != nil {
			o.fault("interface", err.Error())
		}
	}
}

func readPortMappings(o *object, s *Selection) {
	var elements []json.RawMessage
	if !read(o, "portMappings", &elements) {
		return
	}
	if len(elements) == 0 {
		o.fault("portMappings", "must have at least one element (section 4.1.2.1.7)")
	}
	if o.checkCount("portMappings", len(elements)) {
		return
	}
	seen := map[PortMapping]bool{}
	for i, element := range elements {
		inner, err := newObject(fmt.Sprintf("portMappings[%d]", i), element)
		if err != nil {
			o.faults = append(o.faults, err)
			continue
		}
		m := readPortMapping(inner)
		if len(inner.faults) == 0 && seen[m.hostSide()] {
			inner.fault("hostPort", fmt.Sprintf("%d is there twice for the same protocol and hostIP", m.HostPort))
		}
		seen[m.hostSide()] = true
		s.PortMappings = append(s.PortMappings, m)
		o.faults = append(o.faults, inner.faults...)
	}
}

// hostSide is what only one mapping may have: all but the port in the container, with
// one form for each address.
func (m PortMapping) hostSide() PortMapping {
	m.ContainerPort = 0
	if addr, err := netip.ParseAddr(m.HostIP); err == nil {
		m.HostIP = addr.Unmap().String()
	}
	return m
}

func readPortMapping(o *object) PortMapping {
	m := PortMapping{Protocol: "tcp"}
	readPort(o, "hostPort", &m.HostPort)
	readPort(o, "containerPort", &m.ContainerPort)
	if read(o, "protocol", &m.Protocol) {
		m.Protocol = strings.ToLower(m.Protocol)
	}
	switch m.Protocol {
	case "tcp", "udp", "sctp":
	case "":
		m.Protocol = "tcp"
	default:
		o.fault("protocol", fmt.Sprintf("must be TCP, UDP or SCTP, got %q", brief(m.Protocol)))
	}
	if read(o, "hostIP", &m.HostIP) && m.HostIP != "" {
		addr, err := netip.ParseAddr(m.HostIP)
		switch {
		case err != nil || addr.Zone() != "":
			o.fault("hostIP", fmt.Sprintf("%q is not an address", brief(m.HostIP)))
		case addr.Unmap().IsMulticast() || addr.Unmap() == limitedBroadcast:
			o.fault("hostIP", fmt.Sprintf("%q is %s, which no node has", m.HostIP, specialAddress(addr.Unmap())))
		}
	}
	return m
}

func readPort(o *object, key string, port *int) {
	if _, given := o.get(key); !given {
		o.fault(key, "is missing")
	} else if read(o, key, port) && (*port < 1 || *port > math.MaxUint16) {
		o.fault(key, fmt.Sprintf("must be between 1 and 65535, got %d", *port))
	}
}

// minBurst is enough for the largest packet that a host hands to a queue at once
// (64 KiB), maxBurst what the tc tools take.
const (
	minBurst = 64 * 1024 * 8
	maxBurst = math.MaxInt32
)

func readBandwidth(o *object, s *Selection) {
	raw, ok := o.get("bandwidth")
	if !ok {
		return
	}
	inner, err := newObject("bandwidth", raw)
	if err != nil {
		o.faults = append(o.faults, err)
		return
	}
	s.Bandwidth = &Bandwidth{}
	given := readRate(inner, "ingressRate", &s.Bandwidth.IngressRate, "ingressBurst", &s.Bandwidth.IngressBurst)
	given = readRate(inner, "egressRate", &s.Bandwidth.EgressRate, "egressBurst", &s.Bandwidth.EgressBurst) || given
	if !given && len(inner.faults) == 0 {
		inner.fault("ingressRate", "one of ingressRate and egressRate must be given (section 4.1.2.1.8)")
	}
	o.faults = append(o.faults, inner.faults...)
}

// readRate reads a rate and its burst, and reports whether the rate was given. A burst
// that is left out becomes what the rate moves in one second, because the reference
// plugin wants one.
func readRate(o *object, rateKey string, rate *int64, burstKey string, burst *int64) bool {
	hasRate, hasBurst := read(o, rateKey, rate), read(o, burstKey, burst)
	if hasRate && *rate <= 0 {
		o.fault(rateKey, fmt.Sprintf("must be more than 0 bits per second, got %d", *rate))
	}
	if hasBurst && *burst <= 0 {
		o.fault(burstKey, fmt.Sprintf("must be more than 0 bits, got %d", *burst))
	}
	if hasBurst && !hasRate {
		o.fault(burstKey, "needs "+rateKey+" beside it")
	}
	if hasRate && !hasBurst {
		*burst = min(max(*rate, minBurst), maxBurst)
	}
	return hasRate
}
