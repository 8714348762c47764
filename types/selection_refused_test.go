package types

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// element is a case of one element of the annotation, beside its name.
type element struct {
	name, keys string
	words      []string
}

// runRefused runs each case as the second element of an annotation.
func runRefused(t *testing.T, cases []element) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := ParseSelections(`[{"name":"a"},{"name":"b",`+tc.keys+`}]`, "pods")
			check.Error(t, err, append(tc.words, "annotation k8s.v1.cni.cncf.io/networks: element 2 (")...)
		})
	}
}

func TestSelectionsJSONRefused(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		words       []string
	}{
		{"an object", `{"name":"a"}`, []string{`must be a JSON array of networks or a list as "net-a,ns/net-b@eth1", got an object`}},
		{"a string", `"a"`, []string{"must be a JSON array", "got a string"}},
		{"half an array", `[{"name":"a"}`, []string{"is not valid JSON"}},
		{"something after it", `[] []`, []string{"is not valid JSON"}},
		{"a name as element", `["a"]`, []string{"element 1: must be a JSON object, got a string"}},
		{"null as element", `[null]`, []string{"element 1: must be a JSON object, got null"}},
		{"no name", `[{"namespace":"ops"}]`, []string{"element 1: name: is missing"}},
		{"a null name", `[{"name":null}]`, []string{"element 1: name: is missing"}},
		{"an empty name", `[{"name":""}]`, []string{"element 1: name: network name must not be empty"}},
		{"a name of a wrong type", `[{"name":["a"]}]`, []string{"element 1: name: must be a string, got a JSON array"}},
		{"a bad name", `[{"name":"ns/a"}]`, []string{`element 1 (pods/ns/a): name: network name "ns/a" is not a DNS-1123 label`}},
		{"every element's faults", `[{"name":"a","mac":"x"},{"name":"b"},{"name":"c","ips":[],"interface":"lo"}]`, []string{"element 1 (pods/a): mac:", "element 3 (pods/c): interface:", "; ips: must have"}},
		{"an interface twice", `[{"name":"a","interface":"x"},{"name":"b","interfaceRequest":"x"}]`, []string{`element 2 (pods/b): interface: "x" is taken by element 1 (pods/a)`}},
		{"no text", "[{\"name\":\"a\",\"cni-args\":{\"k\":\"\xff\"}}]", []string{"is not valid UTF-8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := ParseSelections(tc.value, "pods")
			check.Error(t, err, append(tc.words, "annotation k8s.v1.cni.cncf.io/networks: ")...)
		})
	}
}

func TestSelectionsNamesRefused(t *testing.T) {
	runRefused(t, []element{
		{"a bad namespace", `"namespace":"Ops"`, []string{`namespace: namespace "Ops" is not a DNS-1123 label`}},
		{"a namespace of a wrong type", `"namespace":1`, []string{"namespace: must be a string, got a number"}},
		{"an interface with a slash", `"interface":"a/b"`, []string{`interface: interface name "a/b"`}},
		{"an interface with an @", `"interface":"b@c"`, []string{`interface: interface name "b@c" has a '@' in it`}},
		{"an interfaceRequest with an @", `"interfaceRequest":"b@c"`, []string{`interface: interface name "b@c" has a '@' in it`}},
		{"the loopback", `"interface":"lo"`, []string{`interface: interface name "lo" is the loopback's`}},
		{"a long interface", `"interface":"sixteen-letters-"`, []string{`"sixteen-letters-" has 16 bytes`}},
		{"an interface of a wrong type", `"interface":1`, []string{"interface: must be a string, got a number"}},
		{"a bad interfaceRequest", `"interfaceRequest":"a b"`, []string{`interface: interface name "a b"`}},
		{"an interfaceRequest of a wrong type", `"interfaceRequest":{}`, []string{"interfaceRequest: must be a string, got a JSON object"}},
		{"twins", `"NAME":"c"`, []string{`NAME: stands beside "name"`}},
		{"a device of a wrong type", `"deviceID":["0000:03:02.1"]`, []string{"deviceID: must be a string, got a JSON array"}},
	})
}

func TestSelectionsAddressesRefused(t *testing.T) {
	runRefused(t, []element{
		{"no address", `"ips":[]`, []string{"ips: must have at least one address"}},
		{"a string", `"ips":"10.0.0.1"`, []string{"ips: must be an array, got a string"}},
		{"a number", `"ips":[10]`, []string{"ips: must be a string, got a JSON number"}},
		{"no address at all", `"ips":["10.0.0.1","host"]`, []string{`ips[1]: "host" is not an IPv4 or IPv6 address`}},
		{"empty", `"ips":[""]`, []string{`ips[0]: "" is not`}},
		{"a bad prefix", `"ips":["10.0.0.1/33"]`, []string{`ips[0]: "10.0.0.1/33" is not`}},
		{"a zone", `"ips":["fe80::1%eth0"]`, []string{`ips[0]: "fe80::1%eth0" is not`}},
		{"a short address", `"ips":["10.0.1"]`, []string{`ips[0]: "10.0.1" is not`}},
		{"no MAC", `"mac":"02:23"`, []string{`mac: "02:23" is not a 6-byte Ethernet address`}},
		{"a MAC of space", `"mac":" "`, []string{`mac: " " is not a 6-byte`}},
		{"a multicast MAC", `"mac":"01:00:5e:00:00:01"`, []string{`mac: "01:00:5e:00:00:01" is a multicast address`}},
		{"the broadcast MAC", `"mac":"ff-ff-ff-ff-ff-ff"`, []string{`mac: "ff-ff-ff-ff-ff-ff" is a multicast address`}},
		{"a MAC of zeros", `"mac":"00:00:00:00:00:00"`, []string{`mac: "00:00:00:00:00:00" is all zero`}},
		{"a MAC of 8 bytes", `"mac":"24:8a:07:03:00:8d:ae:2f"`, []string{`mac: "24:8a:07:03:00:8d:ae:2f" is not a 6-byte`}},
		{"a MAC of a wrong type", `"mac":2`, []string{"mac: must be a string, got a number"}},
		{"a GUID of 6 bytes", `"infiniband-guid":"02:23:45:67:89:01"`, []string{`infiniband-guid: "02:23:45:67:89:01" is not an 8-byte GUID`}},
		{"a GUID of zeros", `"infiniband-guid":"00:00:00:00:00:00:00:00"`, []string{`infiniband-guid: "00:00:00:00:00:00:00:00" is all zero or all one`}},
		{"a GUID of ones", `"infiniband-guid":"ff:ff:ff:ff:ff:ff:ff:ff"`, []string{`infiniband-guid: "ff:ff:ff:ff:ff:ff:ff:ff" is all zero or all one`}},
		{"a GUID of a wrong type", `"infiniband-guid":true`, []string{"infiniband-guid: must be a string, got true or false"}},
		{"a claim of a wrong type", `"ipam-claim-reference":1`, []string{"ipam-claim-reference: must be a string, got a number"}},
		{"a claim beside addresses", `"ips":["10.0.0.1"],"ipam-claim-reference":"vm"`, []string{"ipam-claim-reference: cannot be combined with ips"}},
	})
}

// Addresses that are well formed, and that no interface ever has.
func TestSelectionsImpossibleAddressesRefused(t *testing.T) {
	runRefused(t, []element{
		{"loopback", `"ips":["127.0.0.1"]`, []string{`ips[0]: "127.0.0.1" is a loopback address, which no interface can have`}},
		{"loopback with a prefix", `"ips":["127.1.2.3/8"]`, []string{`ips[0]: "127.1.2.3/8" is a loopback address`}},
		{"loopback of IPv6", `"ips":["10.0.0.1","::1/128"]`, []string{`ips[1]: "::1/128" is a loopback address`}},
		{"loopback as IPv6", `"ips":["::ffff:127.0.0.1"]`, []string{`ips[0]: "::ffff:127.0.0.1" is a loopback address`}},
		{"multicast", `"ips":["224.0.0.5/24"]`, []string{`ips[0]: "224.0.0.5/24" is a multicast address`}},
		{"multicast of IPv6", `"ips":["ff02::1"]`, []string{`ips[0]: "ff02::1" is a multicast address`}},
		{"unspecified", `"ips":["0.0.0.0"]`, []string{`ips[0]: "0.0.0.0" is the unspecified address`}},
		{"unspecified of IPv6", `"ips":["::/64"]`, []string{`ips[0]: "::/64" is the unspecified address`}},
		{"broadcast", `"ips":["255.255.255.255"]`, []string{`ips[0]: "255.255.255.255" is the broadcast address`}},
		{"the network itself", `"ips":["10.0.0.0/24"]`, []string{`ips[0]: "10.0.0.0/24" is the address of that network itself`}},
		{"the broadcast of a network", `"ips":["10.0.0.255/24"]`, []string{`ips[0]: "10.0.0.255/24" is the broadcast address of that network`}},
		{"the broadcast of a small network", `"ips":["10.0.0.7/30"]`, []string{`ips[0]: "10.0.0.7/30" is the broadcast address of that network`}},
		{"the network itself as IPv6", `"ips":["::ffff:10.0.1.0/120"]`, []string{`ips[0]: "::ffff:10.0.1.0/120" is the address of that network itself`}},
		{"twice", `"ips":["10.0.0.5","10.0.0.5"]`, []string{`ips[1]: "10.0.0.5" is there twice`}},
		{"twice with a prefix", `"ips":["fd00::5","10.0.0.5/24","fd00:0::5/64","::ffff:10.0.0.5"]`, []string{`ips[2]: "fd00:0::5/64" is there twice; ips[3]: "::ffff:10.0.0.5" is there twice`}},
	})
}

// The last addresses before those, and values that are the same as none.
func TestSelectionsPossibleAddresses(t *testing.T) {
	ips := []string{"10.0.0.1/24", "10.0.0.254/24", "10.0.0.0", "10.0.1.0/23", "10.0.2.0/31", "10.0.2.1/31", "10.0.3.255/32", "10.0.4.255", "fd00::/64", "fe80::1", "169.254.0.1", "::ffff:10.0.5.0/64"}
	got := mustSelect(t, `[{"name":"a","mac":"","infiniband-guid":"","ips":`+string(mustMarshal(t, ips))+`,"ipam-claim-reference":"","deviceID":""},
		{"name":"b","mac":"02:00:00:00:00:00","ipam-claim-reference":"vm"},{"name":"c","infiniband-guid":"00:00:00:00:00:00:00:01"}]`)
	wantEqual(t, []Selection{
		{Namespace: "pods", Name: "a", IPs: ips},
		{Namespace: "pods", Name: "b", MAC: "02:00:00:00:00:00", IPAMClaim: "vm"},
		{Namespace: "pods", Name: "c", InfinibandGUID: "00:00:00:00:00:00:00:01"},
	}, got)
}

func TestSelectionsPortMappingsTwice(t *testing.T) {
	runRefused(t, []element{
		{"the same", `"portMappings":[{"hostPort":1,"containerPort":2},{"hostPort":1,"containerPort":2}]`, []string{"portMappings[1].hostPort: 1 is there twice for the same protocol and hostIP"}},
		{"to another port", `"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"UDP"},{"hostPort":9,"containerPort":2},{"hostPort":1,"containerPort":3,"protocol":"udp"}]`, []string{"portMappings[2].hostPort: 1 is there twice"}},
		{"of an address in two forms", `"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"fd00::1"},{"hostPort":1,"containerPort":2,"hostIP":"fd00:0::1"}]`, []string{"portMappings[1].hostPort: 1 is there twice"}},
		{"a multicast address", `"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"ff02::1"}]`, []string{`portMappings[0].hostIP: "ff02::1" is a multicast address, which no node has`}},
		{"the broadcast address", `"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"255.255.255.255"}]`, []string{`portMappings[0].hostIP: "255.255.255.255" is the broadcast address`}},
		{"a zone", `"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"fe80::1%eth0"}]`, []string{`portMappings[0].hostIP: "fe80::1%eth0" is not an address`}},
	})
	// Another protocol, or another address of the node, is another port.
	got := mustSelect(t, `[{"name":"a","portMappings":[{"hostPort":1,"containerPort":2},{"hostPort":1,"containerPort":2,"protocol":"sctp"},
		{"hostPort":1,"containerPort":2,"hostIP":"127.0.0.1"},{"hostPort":1,"containerPort":2,"hostIP":"0.0.0.0"}]},{"name":"b","portMappings":[{"hostPort":1,"containerPort":2}]}]`)
	if len(got[0].PortMappings) != 4 {
		t.Errorf("%+v", got[0].PortMappings)
	}
}

func TestSelectionsPortMappingsRefused(t *testing.T) {
	runRefused(t, []element{
		{"none", `"portMappings":[]`, []string{"portMappings: must have at least one element"}},
		{"an object", `"portMappings":{"hostPort":1}`, []string{"portMappings: must be an array, got a JSON object"}},
		{"a port alone", `"portMappings":[80]`, []string{"portMappings[0]: must be a JSON object, got a number"}},
		{"no ports", `"portMappings":[{}]`, []string{"portMappings[0].hostPort: is missing", "portMappings[0].containerPort: is missing"}},
		{"a port below", `"portMappings":[{"hostPort":0,"containerPort":-1}]`, []string{"portMappings[0].hostPort: must be between 1 and 65535, got 0", "portMappings[0].containerPort: must be between 1 and 65535, got -1"}},
		{"a port above", `"portMappings":[{"hostPort":1,"containerPort":2},{"hostPort":65536,"containerPort":2}]`, []string{"portMappings[1].hostPort: must be between 1 and 65535, got 65536"}},
		{"a port as text", `"portMappings":[{"hostPort":"80","containerPort":2}]`, []string{"portMappings[0].hostPort: must be a whole number, got a string"}},
		{"half a port", `"portMappings":[{"hostPort":1.5,"containerPort":2}]`, []string{"portMappings[0].hostPort: must be a whole number, got a number"}},
		{"a protocol", `"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"icmp"}]`, []string{`portMappings[0].protocol: must be TCP, UDP or SCTP, got "icmp"`}},
		{"a protocol of a wrong type", `"portMappings":[{"hostPort":1,"containerPort":2,"protocol":6}]`, []string{"portMappings[0].protocol: must be a string, got a number"}},
		{"a host address", `"portMappings":[{"hostPort":1,"containerPort":2,"hostIP":"host"}]`, []string{`portMappings[0].hostIP: "host" is not an address`}},
		{"twins", `"portMappings":[{"hostPort":1,"HOSTPORT":2,"containerPort":3}]`, []string{`portMappings[0].HOSTPORT: stands beside "hostPort"`}},
	})
}

func TestSelectionsBandwidthRefused(t *testing.T) {
	runRefused(t, []element{
		{"nothing", `"bandwidth":{}`, []string{"bandwidth.ingressRate: one of ingressRate and egressRate must be given"}},
		{"a number", `"bandwidth":1`, []string{"bandwidth: must be a JSON object, got a number"}},
		{"a rate of 0", `"bandwidth":{"ingressRate":0}`, []string{"bandwidth.ingressRate: must be more than 0 bits per second, got 0"}},
		{"a rate below", `"bandwidth":{"egressRate":-1}`, []string{"bandwidth.egressRate: must be more than 0 bits per second, got -1"}},
		{"a burst of 0", `"bandwidth":{"ingressRate":1,"ingressBurst":0}`, []string{"bandwidth.ingressBurst: must be more than 0 bits, got 0"}},
		{"a burst alone", `"bandwidth":{"ingressRate":1,"egressBurst":1}`, []string{"bandwidth.egressBurst: needs egressRate beside it"}},
		{"bursts alone", `"bandwidth":{"ingressBurst":1,"egressBurst":1}`, []string{"bandwidth.ingressBurst: needs ingressRate", "bandwidth.egressBurst: needs egressRate"}},
		{"a rate as text", `"bandwidth":{"ingressRate":"1M"}`, []string{"bandwidth.ingressRate: must be a whole number, got a string"}},
		{"twins", `"bandwidth":{"ingressRate":1,"INGRESSRATE":2}`, []string{`bandwidth.INGRESSRATE: stands beside "ingressRate"`}},
	})
}

func TestSelectionsRoutesAndArgsRefused(t *testing.T) {
	runRefused(t, []element{
		{"a string", `"default-route":"10.0.0.1"`, []string{"default-route: must be an array, got a string"}},
		{"no address", `"default-route":["10.0.0.1","gw"]`, []string{`default-route[1]: "gw" is not the address of a gateway`}},
		{"a prefix", `"default-route":["10.0.0.1/24"]`, []string{`default-route[0]: "10.0.0.1/24" is not the address of a gateway`}},
		{"a zone", `"default-route":["fe80::1%eth0"]`, []string{`default-route[0]: "fe80::1%eth0" is not`}},
		{"unspecified", `"default-route":["0.0.0.0"]`, []string{`default-route[0]: "0.0.0.0" cannot be a gateway`}},
		{"multicast", `"default-route":["ff02::1"]`, []string{`default-route[0]: "ff02::1" cannot be a gateway`}},
		{"broadcast", `"default-route":["255.255.255.255"]`, []string{`default-route[0]: "255.255.255.255" cannot be a gateway: it is the broadcast address`}},
		{"unspecified as IPv6", `"default-route":["::ffff:0.0.0.0"]`, []string{`default-route[0]: "::ffff:0.0.0.0" cannot be a gateway: it is the unspecified address`}},
		{"loopback", `"default-route":["127.0.0.1"]`, []string{`default-route[0]: "127.0.0.1" cannot be a gateway`}},
		{"twice", `"default-route":["10.0.0.1","::ffff:10.0.0.1"]`, []string{`default-route[1]: "::ffff:10.0.0.1" is there twice`}},
		{"a second gateway of IPv4", `"default-route":["10.0.0.1","10.0.0.2"]`, []string{`default-route[1]: "10.0.0.2" is a second gateway of IPv4 beside "10.0.0.1", only one may be asked for`}},
		{"of IPv6, behind one of IPv4", `"default-route":["fe80::1","10.0.0.1","fd00::1"]`, []string{`default-route[2]: "fd00::1" is a second gateway of IPv6 beside "fe80::1", only one may be asked for`}},
		{"of IPv4, as IPv6", `"default-route":["::ffff:10.0.0.2","10.0.0.1"]`, []string{`default-route[1]: "10.0.0.1" is a second gateway of IPv4 beside "10.0.0.2", only one may be asked for`}},
		{"behind one that cannot be", `"default-route":["224.0.0.1","10.0.0.1","10.0.0.2"]`, []string{`default-route[0]: "224.0.0.1" cannot be a gateway`, `default-route[2]: "10.0.0.2" is a second gateway of IPv4`}},
		{"arguments of a wrong type", `"cni-args":["a"]`, []string{"cni-args: must be an object, got a JSON array"}},
		{"arguments with twins", `"cni-args":{"a":1,"A":2}`, []string{`cni-args.A: stands beside "a"`}},
	})
}
