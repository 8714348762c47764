package inspect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

var taken = time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)

// healthyNode gives the node of healthy with all that doctor reads, and nothing wrong.
func healthyNode() *Snapshot {
	s := healthy()
	s.Machine.Node, s.Machine.Taken = "node1", taken
	vf := 3
	for i := range s.Records {
		s.Records[i].Created = taken.Add(-time.Hour)
	}
	s.CNI = &CNI{
		ConfDir: "/etc/cni/net.d", BinDir: "/opt/cni/bin",
		Files: []ConfFile{
			{Name: "00-plexus.conflist", Owner: "plexus", Network: "plexus", Plugins: []string{"plexus"}, CNIVersion: "1.0.0"},
			{Name: "10-cbr0.conflist", Network: "cbr0", Plugins: []string{"bridge"}, CNIVersion: "1.0.0"},
		},
		Plexus: &PlexusConf{
			File: "00-plexus.conflist", Name: "plexus", ClusterNetwork: "/etc/cni/net.d/10-cbr0.conflist", Default: []string{"bridge", "host-local"},
			AgentSocket: "/run/plexus/agent.sock", Kubeconfig: "/etc/kubernetes/kubelet.conf", CNIDir: "/var/lib/cni/plexus",
		},
		Executables: []Executable{{Name: "bridge", Version: "v1.9.1"}, {Name: "host-local"}, {Name: "plexus", Version: "v0.9.0"}},
		Agent:       &Agent{Socket: "/run/plexus/agent.sock", Version: "v0.9.0"},
		Credentials: &Credentials{
			File: "/etc/kubernetes/kubelet.conf", Kind: "client certificate in a file", Modified: taken.Add(-72 * time.Hour), Expires: taken.Add(72 * time.Hour),
		},
		Stores: []Store{{
			Dir: "/var/lib/cni/networks/cbr0", Network: "cbr0", Ranges: []Range{{Subnet: "10.1.0.0/24", Start: "10.1.0.1", End: "10.1.0.254", Size: 253, Taken: 2}},
			Reservations: []Reservation{{Address: "10.1.0.2", ContainerID: "c-a", Since: taken.Add(-time.Hour)}, {Address: "10.1.0.3", ContainerID: "c-b", Since: taken.Add(-time.Hour)}},
		}},
		VFs: []NodeVF{{ID: "0000:01:10.0", PF: "up0", Index: &vf, Driver: "iavf", Netdev: "up0v3"}},
	}
	s.API = &API{
		Version: "v1.37.0", CRD: "served", Agent: &AgentPod{Name: "plexus-agent-x7k2p", Image: "plexus:v0.9.0", Ready: true},
		Rights: []Right{{Verb: "get", Resource: "pods", For: "explain", Allowed: true}},
	}
	return s
}

// nodeCases has what each finding of a node is of, and what is close to it and no fault.
var nodeCases = map[string]struct {
	breakIt func(*Snapshot)
	want    []string
}{
	"a healthy node":                      {func(*Snapshot) {}, []string{}},
	"nothing is read of CNI":              {func(s *Snapshot) { s.CNI = nil }, []string{}},
	"no API server was asked":             {func(s *Snapshot) { s.API = nil }, []string{}},
	"an empty folder":                     {func(s *Snapshot) { s.CNI.Files, s.CNI.Plexus = nil, nil }, []string{"error cni-no-configuration"}},
	"a folder with what no runtime reads": {func(s *Snapshot) { s.CNI.Files, s.CNI.Plexus = []ConfFile{{Name: "x.bak", Ignored: true}}, nil }, []string{"error cni-no-configuration", "notice cni-file-renamed"}},
	"the first file is broken":            {func(s *Snapshot) { first(s, ConfFile{Name: "00-a.conf", Fault: "no JSON"}) }, []string{"error cni-file-broken"}},
	"a later file is broken":              {func(s *Snapshot) { s.CNI.Files[1].Fault = "no JSON" }, []string{"notice cni-file-broken"}},
	"another's file is first":             {func(s *Snapshot) { first(s, ConfFile{Name: "00-a.conf", Plugins: []string{"bridge"}}) }, []string{"error plexus-shadowed"}},
	"Multus's file is first": {func(s *Snapshot) {
		first(s, ConfFile{Name: "00-multus.conf", Owner: "multus", Plugins: []string{"bridge"}})
	}, []string{"error plexus-shadowed"}},
	"ours is renamed":                 {func(s *Snapshot) { s.CNI.Plexus = nil; s.CNI.Files[0].Ignored = true }, []string{"error plexus-renamed"}},
	"an old one of ours is renamed":   {func(s *Snapshot) { add(s, ConfFile{Name: "x.bak", Owner: "plexus", Ignored: true}) }, []string{"notice cni-file-renamed"}},
	"ours is not there":               {func(s *Snapshot) { s.CNI.Plexus, s.CNI.Files = nil, s.CNI.Files[1:] }, []string{"warning plexus-not-installed"}},
	"ours is refused":                 {func(s *Snapshot) { s.CNI.Plexus.Fault = "binDir: must be a path" }, []string{"error plexus-config-broken"}},
	"the default network is gone":     {func(s *Snapshot) { s.CNI.Plexus.DefaultFault = "no such file" }, []string{"error default-network-broken"}},
	"the readiness file is not there": {func(s *Snapshot) { s.CNI.Plexus.NotReady = "/run/flannel/subnet.env" }, []string{"error default-network-broken"}},
	"the default network is plexus":   {func(s *Snapshot) { s.CNI.Plexus.DefaultOwner = "plexus" }, []string{"error self-delegation"}},
	"the default network is Multus":   {func(s *Snapshot) { s.CNI.Plexus.DefaultOwner = "multus" }, []string{"error self-delegation"}},
	"an IPAM plugin is missing":       {func(s *Snapshot) { s.CNI.Executables = slices.Delete(s.CNI.Executables, 1, 2) }, []string{"error executable-missing"}},
	"a plugin cannot be run":          {func(s *Snapshot) { s.CNI.Executables[0].Fault = "it is not executable" }, []string{"error executable-missing"}},
	"a plugin of nobody cannot be run": {func(s *Snapshot) {
		s.CNI.Executables = append(s.CNI.Executables, Executable{Name: "x", Fault: "it is empty"})
	}, []string{}},
	"the agent is silent":                   {func(s *Snapshot) { s.CNI.Agent = &Agent{Error: "refused"} }, []string{"warning agent-silent"}},
	"the agent is silent without fallback":  {func(s *Snapshot) { s.CNI.Agent, s.CNI.Credentials = &Agent{Error: "refused"}, nil }, []string{"error agent-silent"}},
	"the agent is not ready":                {func(s *Snapshot) { s.CNI.Agent.NotReady = "no watch" }, []string{"warning agent-not-ready"}},
	"the node is not in use":                {func(s *Snapshot) { s.CNI.Agent.Faults = []AgentFault{{"configuration", "another first"}} }, []string{"error node-not-in-use"}},
	"the fallback has no kubeconfig":        {func(s *Snapshot) { s.CNI.Agent.Faults = []AgentFault{{"fallback", "no file"}} }, []string{"notice node-not-in-use"}},
	"plexus is older":                       {func(s *Snapshot) { s.CNI.Executables[2].Version = "v0.8.0" }, []string{"warning version-skew"}},
	"plexus of an unknown version":          {func(s *Snapshot) { s.CNI.Executables[2].Version = "" }, []string{}},
	"credentials that cannot be read":       {func(s *Snapshot) { s.CNI.Credentials.Fault = "not YAML" }, []string{"warning credentials"}},
	"credentials that expired, no agent":    {func(s *Snapshot) { s.CNI.Agent = nil; s.CNI.Credentials.Expires = taken }, []string{"error credentials"}},
	"a certificate that expires in an hour": {func(s *Snapshot) { s.CNI.Credentials.Expires = taken.Add(time.Hour) }, []string{"notice credentials"}},
	"a token that expires in an hour":       {func(s *Snapshot) { s.CNI.Credentials.Kind, s.CNI.Credentials.Expires = "token", taken.Add(time.Hour) }, []string{}},
	"a sandbox that is gone":                {func(s *Snapshot) { s.Records[1].Live = false }, []string{"warning stale-record"}},
	"an ADD that was cut short":             {func(s *Snapshot) { s.Records[1].Complete = false }, []string{"warning unfinished-record"}},
	"an ADD under way":                      {func(s *Snapshot) { s.Records[1].Complete, s.Records[1].Created = false, taken }, []string{}},
	"a record was given up":                 {func(s *Snapshot) { s.CNI.GivenUp = []string{"c-x"} }, []string{"warning record-given-up"}},
	"an address of nobody":                  {func(s *Snapshot) { s.CNI.Stores[0].Reservations[1].ContainerID = "c-x" }, []string{"warning address-of-nobody"}},
	"an address that is new": {func(s *Snapshot) {
		s.CNI.Stores[0].Reservations[1].ContainerID, s.CNI.Stores[0].Reservations[1].Since = "c-x", taken
	}, []string{}},
	"an address of a container that Plexus did not attach": {func(s *Snapshot) {
		s.CNI.Stores[0].Reservations[1].ContainerID, s.CNI.Stores[0].Reservations[1].Cached = "c-x", true
	}, []string{}},
	"a range that is nearly full": {func(s *Snapshot) { s.CNI.Stores[0].Ranges[0].Taken = 228 }, []string{"warning range-nearly-full"}},
	"a range that is full":        {func(s *Snapshot) { s.CNI.Stores[0].Ranges[0].Taken = 253 }, []string{"error range-nearly-full"}},
	"a range that has room":       {func(s *Snapshot) { s.CNI.Stores[0].Ranges[0].Taken = 227 }, []string{}},
	"a large range":               {func(s *Snapshot) { s.CNI.Stores[0].Ranges[0].Size = 0 }, []string{}},
	"a VF of nobody":              {func(s *Snapshot) { s.CNI.VFs[0].Netdev = "" }, []string{"warning vf-of-nobody"}},
	"a VF that a program drives":  {func(s *Snapshot) { s.CNI.VFs[0].Netdev, s.CNI.VFs[0].User = "", true }, []string{}},
	"a VF without a driver":       {func(s *Snapshot) { s.CNI.VFs[0].Netdev, s.CNI.VFs[0].Driver = "", "" }, []string{}},
	"a VF of a record": {func(s *Snapshot) {
		s.CNI.VFs[0].Netdev, s.Records[0].Attachments[1].DeviceID = "", "0000:01:10.0"
	}, []string{}},
	"a VF in a namespace": {func(s *Snapshot) {
		s.CNI.VFs[0].Netdev = ""
		s.at(podA, "net0").Device = &Device{ID: "0000:01:10.0"}
	}, []string{}},
	"the runtime is silent":             {func(s *Snapshot) { s.CNI.Runtime = &RuntimeState{Error: "refused"} }, []string{"error runtime-not-ready"}},
	"the runtime is not ready":          {func(s *Snapshot) { s.CNI.Runtime = runtimeOf("c-a", "c-b"); s.CNI.Runtime.NotReady = "no CNI" }, []string{"error runtime-not-ready"}},
	"the runtime has other sandboxes":   {func(s *Snapshot) { s.CNI.Runtime = runtimeOf("c-a", "c-b", "c-host-network") }, []string{}},
	"the runtime lost a sandbox":        {func(s *Snapshot) { s.CNI.Runtime = runtimeOf("c-a") }, []string{"warning record-without-sandbox"}},
	"no default route":                  {func(s *Snapshot) { s.ns(hostNS).Routes = nil }, []string{}},
	"two default routes of one metric":  {func(s *Snapshot) { secondDefault(s, 0) }, []string{"warning default-routes-tied"}},
	"two default routes of two metrics": {func(s *Snapshot) { secondDefault(s, 100) }, []string{}},
	"MTU of a pod above that of the NIC": {func(s *Snapshot) {
		s.at(hostNS, "up0").MTU, s.at(hostNS, "vx0").MTU, s.at(podA, "eth0").MTU = 1499, 1400, 1400
		s.at(podB, "net0").MTU, s.at(podA, "net0").MTU = 1499, 1499
	}, []string{"warning mtu-above-uplink"}},
	"the API server is away":       {func(s *Snapshot) { s.API = &API{Error: "no route to host"} }, []string{"error api-unreachable"}},
	"the CRD is not there":         {func(s *Snapshot) { s.API.CRD = "missing" }, []string{"error crd-missing"}},
	"the agent has no pod":         {func(s *Snapshot) { s.API.Agent = nil }, []string{"error agent-pod"}},
	"the agent's pod is not known": {func(s *Snapshot) { s.API.Agent, s.API.AgentError = nil, "forbidden" }, []string{}},
	"the agent's pod is not ready": {func(s *Snapshot) { s.API.Agent.Ready = false }, []string{"error agent-pod"}},
	"a right is missing":           {func(s *Snapshot) { s.API.Rights[0].Allowed = false }, []string{"notice right-missing"}},
	"a right is not known":         {func(s *Snapshot) { s.API.Rights[0].Allowed, s.API.Rights[0].Error = false, "timeout" }, []string{}},
	"something could not be read":  {func(s *Snapshot) { s.Notes = []Note{{"/var/lib/cni/networks", "permission denied"}} }, []string{"notice unread"}},
	"a pod's network is broken":    {func(s *Snapshot) { s.at(hostNS, "cbr0").Up = false }, []string{"error bridge-down", "error bridge-down"}},
}

func first(s *Snapshot, file ConfFile) { s.CNI.Files = slices.Insert(s.CNI.Files, 0, file) }

func add(s *Snapshot, file ConfFile) { s.CNI.Files = append(s.CNI.Files, file) }

func runtimeOf(sandboxes ...string) *RuntimeState {
	return &RuntimeState{Name: "containerd", Endpoint: "/run/containerd/containerd.sock", Sandboxes: sandboxes}
}

func secondDefault(s *Snapshot, metric int) {
	host := s.ns(hostNS)
	host.Routes = append(host.Routes, Route{Table: mainTable, Family: 4, To: "default", Via: "10.1.0.254", Index: 4, Metric: metric})
}

func TestDoctor(t *testing.T) {
	for name, test := range nodeCases {
		t.Run(name, func(t *testing.T) {
			s := healthyNode()
			test.breakIt(s)
			got := []string{}
			for _, f := range NewDoctor(s).Findings {
				got = append(got, string(f.Severity)+" "+f.ID)
				if f.Text == "" || f.Do == "" || len(f.Evidence) == 0 {
					t.Errorf("not whole: %+v", f)
				}
			}
			check.Equal(t, "findings", got, test.want)
			check.Equal(t, "wrong", NewDoctor(s).Wrong(), strings.Contains(strings.Join(test.want, " "), "error ") || strings.Contains(strings.Join(test.want, " "), "warning "))
		})
	}
	for _, entry := range NodeCatalogue {
		happens := false
		for _, test := range nodeCases {
			happens = happens || slices.ContainsFunc(test.want, func(want string) bool { return strings.HasSuffix(want, " "+entry.ID) })
		}
		if !happens || entry.Meaning == "" || !slices.Contains(severities, entry.Severity) {
			t.Errorf("%s is not whole, or no case has it", entry.ID)
		}
	}
}

// What has gone wrong stands first, each with what was seen and what to do; then how the node is.
func TestDoctorText(t *testing.T) {
	s := healthyNode()
	s.Records[1].Live = false
	first(s, ConfFile{Name: "00-a.conflist", Plugins: []string{"bridge"}})
	s.CNI.Stores[0].Ranges[0].Taken = 240
	var text bytes.Buffer
	check.Must(t, NewDoctor(s).WriteText(&text))
	for i, want := range []string{"node1: 1 error, 2 warnings\n", "\nERROR plexus-shadowed\n", "\nWARNING stale-record\n", "\nWARNING range-nearly-full\n", "\nruntime takes "} {
		_, after, found := strings.Cut(text.String(), want)
		check.Equal(t, "the order of the page "+fmt.Sprint(i), found && after != "", true)
		text = *bytes.NewBufferString("\n" + after)
	}
	data, err := s.Bytes() // docs/doctor.md shows its page
	check.Must(t, err)
	check.Golden(t, "testdata/doctor.json", data)
}

// The text names the command that frees what is left behind.
func TestDoctorNamesTheCommand(t *testing.T) {
	for want, breakIt := range map[string]func(*Snapshot){
		"`sudo kubectl-plexus gc`":                 func(s *Snapshot) { s.Records[1].Live = false },
		"`rm /var/lib/cni/networks/cbr0/10.1.0.3`": func(s *Snapshot) { s.CNI.Stores[0].Reservations[1].ContainerID = "c-x" },
		"kubectl-plexus release ID --force":        func(s *Snapshot) { s.CNI.Runtime = runtimeOf("c-a") },
	} {
		s := healthyNode()
		breakIt(s)
		check.Contains(t, "advice", NewDoctor(s).Findings[0].Do, want)
	}
}

func TestDoctorList(t *testing.T) {
	broken := healthyNode()
	broken.CNI.Files = nil
	broken.CNI.Plexus = nil
	list := NewDoctorList([]NodePage{{Node: "n3", Error: "forbidden"}, {Node: "n2", Doctor: NewDoctor(broken)}, {Node: "n1", Doctor: NewDoctor(healthyNode())}})
	var text bytes.Buffer
	check.Must(t, list.WriteText(&text))
	check.Equal(t, "text", text.String(), strings.Join([]string{
		"NODE  STATE             WORST",
		"n1    nothing is wrong  -",
		"n2    1 error           cni-no-configuration: /etc/cni/net.d has no configuration that a runtime reads",
		"n3    could not look    forbidden", "",
	}, "\n"))
	wrong, unread := list.Wrong()
	check.Equal(t, "wrong, unread", []bool{wrong, unread}, []bool{true, true})
}
