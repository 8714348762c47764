package vf

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/types"
)

func ptr[T any](v T) *T { return &v }

func TestParseConfig(t *testing.T) {
	base := func(change func(*Config)) *Config {
		c := &Config{StateDir: DefaultStateDir}
		change(c)
		return c
	}
	for _, tc := range []struct {
		name, json, args string
		want             *Config
	}{
		{"nothing", `{}`, "", base(func(*Config) {})},
		{
			"all of sriov-cni's",
			`{"cniVersion":"0.3.1","name":"n","type":"sriov","deviceID":"0000:03:02.0","mac":"CA:FE:C0:FF:EE:00","vlan":1000,"vlanQoS":4,"vlanProto":"802.1AD",
			  "min_tx_rate":100,"max_tx_rate":200,"spoofchk":"off","trust":"on","link_state":"enable","logLevel":"debug","logFile":"/tmp/sriov.log","ipam":{"type":"host-local"}}`, "",
			base(func(c *Config) {
				c.CNIVersion, c.Name, c.DeviceID, c.LogLevel, c.LogFile, c.IPAM = "0.3.1", "n", "0000:03:02.0", "debug", "/tmp/sriov.log", "host-local"
				c.Want = Settings{
					MAC: "ca:fe:c0:ff:ee:00", VLAN: ptr(1000), QoS: ptr(4), VLANProto: "802.1ad", SpoofChk: ptr(false), Trust: ptr(true),
					MinTxRate: ptr(uint32(100)), MaxTxRate: ptr(uint32(200)), LinkState: "enable",
				}
			}),
		},
		{"zeros are asked for, null is not", `{"vlan":0,"max_tx_rate":0,"min_tx_rate":null,"trust":null}`, "", base(func(c *Config) {
			c.Want = Settings{VLAN: ptr(0), MaxTxRate: ptr(uint32(0))}
		})},
		{"a minimum under no maximum", `{"min_tx_rate":100,"max_tx_rate":0}`, "", base(func(c *Config) {
			c.Want = Settings{MinTxRate: ptr(uint32(100)), MaxTxRate: ptr(uint32(0))}
		})},
		{"keys in another case", `{"VLAN":5,"DeviceId":"d","vlanqos":1}`, "", base(func(c *Config) {
			c.DeviceID, c.Want = "d", Settings{VLAN: ptr(5), QoS: ptr(1)}
		})},
		{"what plexus adds", `{"deviceID":"a","pciBusID":"a","somethingElse":[1]}`, "", base(func(c *Config) {
			c.DeviceID, c.Unknown = "a", []string{"somethingElse"}
		})},
		{"what the specification allows", `{"type":"x","capabilities":{},"cniVersions":[],"disableCheck":true,"disableGC":true,"cni.dev/attachments":[]}`, "", base(func(*Config) {})},
		{
			"runtimeConfig wins",
			`{"deviceID":"a","mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:02"}},
			  "runtimeConfig":{"deviceID":"b","mac":"02:00:00:00:00:04","infinibandGUID":"00:11:22:33:44:55:66:77","CNIDeviceInfoFile":"/d"}}`, "MAC=02:00:00:00:00:03",
			base(func(c *Config) {
				c.DeviceID, c.DeviceInfoFile, c.Want = "b", "/d", Settings{MAC: "02:00:00:00:00:04", GUID: "00:11:22:33:44:55:66:77"}
			}),
		},
		{"CNI_ARGS next", `{"mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:02"}}}`, "IgnoreUnknown=1;MAC=02:00:00:00:00:03", base(func(c *Config) { c.Want.MAC = "02:00:00:00:00:03" })},
		{"then args", `{"mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:02"}}}`, "", base(func(c *Config) { c.Want.MAC = "02:00:00:00:00:02" })},
		{"a folder of one's own", `{"stateDir":"/x","master":"pf0"}`, "", base(func(c *Config) { c.StateDir, c.Master = "/x", "pf0" })},
		{"null for an empty list of the valid", `{"cni.dev/valid-attachments":null}`, "", base(func(c *Config) { c.ValidAttachments, c.HasValidAttachments = []types.GCAttachment{}, true })},
		{"an empty list of the valid", `{"cni.dev/valid-attachments":[]}`, "", base(func(c *Config) { c.ValidAttachments, c.HasValidAttachments = []types.GCAttachment{}, true })},
		{"no ipam", `{"ipam":{}}`, "", base(func(*Config) {})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseConfig([]byte(tc.json), tc.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConfigRefused(t *testing.T) {
	for _, tc := range []struct {
		name, json, args string
		fields           []string // of the faults, all of them
	}{
		{"no JSON", `{`, "", []string{""}},
		{"no object", `null`, "", []string{""}},
		{"a VLAN out of range", `{"vlan":4095}`, "", []string{"vlan"}},
		{"a negative VLAN", `{"vlan":-1}`, "", []string{"vlan"}},
		{"a priority out of range", `{"vlan":1,"vlanQoS":8}`, "", []string{"vlanQoS"}},
		{"a priority without a VLAN", `{"vlan":0,"vlanQoS":1}`, "", []string{"vlanQoS"}},
		{"a protocol without a VLAN", `{"vlanProto":"802.1ad"}`, "", []string{"vlanProto"}},
		{"an odd protocol", `{"vlan":1,"vlanProto":"x"}`, "", []string{"vlanProto"}},
		{"rates the wrong way round", `{"min_tx_rate":2,"max_tx_rate":1}`, "", []string{"min_tx_rate"}},
		{"a negative rate", `{"max_tx_rate":-1}`, "", []string{"max_tx_rate"}},
		{"a huge rate", `{"max_tx_rate":5000000000}`, "", []string{"max_tx_rate"}},
		{"a group's MAC", `{"mac":"01:00:5e:00:00:01"}`, "", []string{"mac"}},
		{"a zero MAC", `{"mac":"00:00:00:00:00:00"}`, "", []string{"mac"}},
		{"a long MAC", `{"mac":"00:11:22:33:44:55:66:77"}`, "", []string{"mac"}},
		{"a bad MAC of the pod", `{"mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"x"}}`, "", []string{"runtimeConfig.mac"}},
		{"a bad MAC in CNI_ARGS", `{}`, "MAC=x", []string{"CNI_ARGS: MAC"}},
		{"a bad GUID", `{"infinibandGUID":"ff:ff:ff:ff:ff:ff:ff:ff"}`, "", []string{"infinibandGUID"}},
		{"relative paths", `{"stateDir":"a","logFile":"b","runtimeConfig":{"CNIDeviceInfoFile":"c"}}`, "", []string{"stateDir", "logFile", "runtimeConfig.CNIDeviceInfoFile"}},
		{"an odd level", `{"logLevel":"loud"}`, "", []string{"logLevel"}},
		{"a plugin by its path", `{"ipam":{"type":"../x"}}`, "", []string{"ipam.type"}},
		{"an odd ipam", `{"ipam":[]}`, "", []string{"ipam"}},
		{
			"everything at once",
			`{"deviceID":5,"vlan":"x","trust":"yes","spoofchk":true,"link_state":"up","min_tx_rate":-1,"mac":"x"}`, "",
			[]string{"deviceID", "link_state", "mac", "min_tx_rate", "spoofchk", "trust", "vlan"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseConfig([]byte(tc.json), tc.args)
			got := map[string]bool{}
			for _, fault := range flatten(err) {
				var field *types.FieldError
				if !errors.As(fault, &field) {
					t.Fatalf("%v names no field", fault)
				}
				got[field.Field] = true
			}
			want := map[string]bool{}
			for _, field := range tc.fields {
				want[field] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"vlan":1,"mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"x"},"ipam":{"type":"a"}}`), "MAC=1;A")
	f.Add([]byte(`{"cni.dev/valid-attachments":[{}],"prevResult":{},"args":{"cni":{}}}`), "")
	f.Fuzz(func(t *testing.T, data []byte, args string) {
		c, err := ParseConfig(data, args)
		if c == nil && err == nil {
			t.Fatal("neither a configuration nor an error")
		}
		if c != nil {
			_, _ = withoutPrevResult(c.raw)
			_, _ = c.prevResult()
			_ = c.checkForAdd()
		}
		if err != nil && len(err.Error()) > 20_000 {
			t.Errorf("%d bytes of error", len(err.Error()))
		}
	})
}

func aState() *State {
	return &State{
		Format: 1, Key: Key{Device: "0000:01:10.0", ContainerID: "c1", IfName: "net0"}, Network: "n", NetNS: "/run/netns/a", NetNSInode: 7,
		BootID: "b", VFIndex: 3, Config: json.RawMessage(`{}`), Link: &Link{Index: 4, Name: "ens1f0v3"},
	}
}

func TestParseState(t *testing.T) {
	data, err := json.Marshal(aState())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Store{}.folder().Parse(data)
	if diff := cmp.Diff(aState(), got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, tc := range map[string]struct {
		data string
		is   error
	}{
		"empty":              {"", statefile.ErrDamaged},
		"torn":               {string(data[:len(data)/2]), statefile.ErrDamaged},
		"another document":   {`{"kind":"Pod"}`, statefile.ErrDamaged},
		"newer":              {`{"format":2,"vf":"other"}`, statefile.ErrNewer},
		"a bad name":         {strings.Replace(string(data), "ens1f0v3", "a/b", 1), statefile.ErrDamaged},
		"a bad device":       {strings.Replace(string(data), "0000:01:10.0", "../x", 1), statefile.ErrDamaged},
		"a bad PF":           {strings.Replace(string(data), `"vf":3`, `"vf":3,"pf":{"pciAddress":"../.."}`, 1), statefile.ErrDamaged},
		"a negative VF":      {strings.Replace(string(data), `"vf":3`, `"vf":-3`, 1), statefile.ErrDamaged},
		"of no boot":         {strings.Replace(string(data), `"bootID":"b"`, `"bootID":""`, 1), statefile.ErrDamaged},
		"of the wrong shape": {`{"format":1,"link":[]}`, statefile.ErrDamaged},
	} {
		if _, err := (Store{}).folder().Parse([]byte(tc.data)); !errors.Is(err, tc.is) {
			t.Errorf("%s: %v, want %v", name, err, tc.is)
		}
	}
}

func FuzzParseState(f *testing.F) {
	data, _ := json.Marshal(aState())
	f.Add(data)
	f.Add([]byte(`{"format":1,"before":{},"pf":{},"want":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Store{}.folder().Parse(data)
		if err != nil {
			return
		}
		_, _, _ = s.whereabouts(), TemporaryName(s.Device), s.describe(s.Link)
		if key, ok := parseKey(s.name()); !ok || key != s.Key {
			t.Errorf("%q is the name of %v", s.name(), key)
		}
	})
}

func TestTemporaryName(t *testing.T) {
	seen := map[string]string{}
	for _, device := range []string{"0000:01:10.0", "0000:01:10.2", "ffffffff:ff:1f.7", "mlx5_core.sf.4", "mlx5_core.sf.5", "a very long name of a device indeed"} {
		name := TemporaryName(device)
		if err := types.CheckInterfaceName(name); err != nil {
			t.Error(err)
		}
		if seen[name] != "" {
			t.Errorf("%s and %s have the same", device, seen[name])
		}
		seen[name] = device
	}
}
