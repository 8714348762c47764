package types

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// configKey is one key of the configuration: a good value and what it becomes, a
// value of a wrong type and what the error says it must be.
type configKey struct {
	key, good string
	want      any
	wrong     string
	must      string
}

var configKeys = []configKey{
	{"cniVersion", `"1.1.0"`, "1.1.0", `1.1`, "must be a string, got a number"},
	{"name", `"outer"`, "outer", `["outer"]`, "must be a string, got a JSON array"},
	{"type", `"plexus"`, "plexus", `true`, "must be a string, got true or false"},
	{"capabilities", `{"portMappings":true}`, map[string]bool{"portMappings": true}, `{"portMappings":"yes"}`, "must be true or false, got a JSON string"},
	{"runtimeConfig", `{"mac":"x"}`, map[string]json.RawMessage{"mac": json.RawMessage(`"x"`)}, `[]`, "must be an object, got a JSON array"},
	{"prevResult", `{"ips":[]}`, json.RawMessage(`{"ips":[]}`), `"none"`, "must be an object, got a string"},
	{"clusterNetwork", `"/etc/cni/net.d/10.conflist"`, "/etc/cni/net.d/10.conflist", `{}`, "must be a string, got a JSON object"},
	{"defaultNetworks", `["a","b"]`, []string{"a", "b"}, `"a"`, "must be an array, got a string"},
	{"delegates", `[{"type":"bridge"}]`, []json.RawMessage{json.RawMessage(`{"type":"bridge"}`)}, `{}`, "must be an array, got a JSON object"},
	{"auxiliaryCNIChainName", `"extra"`, "extra", `1`, "must be a string, got a number"},
	{"confDir", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"cniDir", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"binDir", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"kubeconfig", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"agentSocket", `""`, "", `1`, "must be a string, got a number"},
	{"podResourcesSocket", `""`, "", `1`, "must be a string, got a number"},
	{"deviceCheckpoint", `"/d"`, "/d", `[]`, "must be a string, got a JSON array"},
	{"manifests", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"readinessindicatorfile", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"namespaceIsolation", `true`, true, `"true"`, "must be true or false, got a string"},
	{"globalNamespaces", `" a, b ,,"`, CommaList{"a", "b"}, `["a"]`, "must be a string, got a JSON array"},
	{"systemNamespaces", `["a"]`, []string{"a"}, `"a"`, "must be an array, got a string"},
	{"multusNamespace", `"ops"`, "ops", `1`, "must be a string, got a number"},
	{"defaultNetworkNamespaces", `["a"]`, []string{"a"}, `"a"`, "must be an array, got a string"},
	{"allowedPlugins", `{"*":["bridge"]}`, map[string][]string{"*": {"bridge"}}, `{"*":"bridge"}`, "must be an array, got a JSON string"},
	{"retryDeleteOnError", `true`, true, `1`, "must be true or false, got a number"},
	{"firstInterfaceIndex", `1`, 1, `1.5`, "must be a whole number, got a number"},
	{"result", `"all"`, "all", `true`, "must be a string, got true or false"},
	{"addTimeout", `"1m30s"`, Duration(90 * time.Second), `90`, "must be a string, got a number"},
	{"startAhead", `["whereabouts"]`, []string{"whereabouts"}, `"all"`, "must be an array, got a string"},
	{"delegateTimeout", `"5s"`, Duration(5 * time.Second), `5`, "must be a string, got a number"},
	{"logFile", `"/c"`, "/c", `1`, "must be a string, got a number"},
	{"logLevel", `"debug"`, "debug", `1`, "must be a string, got a number"},
	{"logToStderr", `false`, false, `"false"`, "must be true or false, got a string"},
	{"logOptions", `{"maxAge":1,"maxSize":2,"maxBackups":3,"compress":true}`, LogOptions{1, 2, 3, true}, `[]`, "must be a JSON object, got an array"},
	{
		"cni.dev/valid-attachments", `[{"containerID":"c","ifname":"eth0"}]`,
		[]GCAttachment{{"c", "eth0"}},
		`[{"containerID":5}]`, "must be a string, got a JSON number (at containerID)",
	},
}

// withKey is a configuration with one key, and what else it needs.
func withKey(key, value string) []byte {
	if strings.EqualFold(key, "clusterNetwork") {
		return []byte(`{"` + key + `":` + value + `}`)
	}
	return []byte(`{"clusterNetwork":"master","` + key + `":` + value + `}`)
}

// fieldOf gives the field of a configuration that has the JSON key.
func fieldOf(t *testing.T, c *Config, key string) any {
	t.Helper()
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		if jsonKey(v.Type().Field(i)) == key {
			return v.Field(i).Interface()
		}
	}
	t.Fatalf("Config has no field with the JSON key %q", key)
	return nil
}

func jsonKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key
}

func mustConfig(t *testing.T, data string) *Config {
	t.Helper()
	c, unknown, err := ParseConfig([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(unknown) != 0 {
		t.Fatalf("unknown keys %q", unknown)
	}
	return c
}

func TestConfigKeys(t *testing.T) {
	for _, k := range configKeys {
		t.Run(k.key, func(t *testing.T) {
			c := mustConfig(t, string(withKey(k.key, k.good)))
			wantEqual(t, k.want, fieldOf(t, c, k.key))
			// encoding/json, and so Multus, does not mind how a key is written.
			c = mustConfig(t, string(withKey(strings.ToUpper(k.key), k.good)))
			wantEqual(t, k.want, fieldOf(t, c, k.key))
		})
	}
}

func TestConfigWrongType(t *testing.T) {
	for _, k := range configKeys {
		t.Run(k.key, func(t *testing.T) {
			c, unknown, err := ParseConfig(withKey(k.key, k.wrong))
			check.Error(t, err, "configuration of plexus", k.key+": ", k.must)
			if c != nil || unknown != nil {
				t.Errorf("beside the error there is %v, %v", c, unknown)
			}
			var field *FieldError
			if !asFieldError(err, &field) || field.Field != k.key {
				t.Errorf("the error is not that of field %s: %#v", k.key, field)
			}
		})
	}
}

func TestConfigNullIsNoKey(t *testing.T) {
	want := mustConfig(t, `{"clusterNetwork":"master"}`)
	for _, k := range configKeys {
		if k.key == "clusterNetwork" || strings.HasPrefix(k.key, "cni.dev/") { // there it is an empty list
			continue
		}
		t.Run(k.key, func(t *testing.T) {
			wantEqual(t, want, mustConfig(t, string(withKey(k.key, "null"))))
		})
	}
}

func TestConfigTwins(t *testing.T) {
	for _, k := range configKeys {
		t.Run(k.key, func(t *testing.T) {
			twin := strings.ToUpper(k.key)
			_, _, err := ParseConfig([]byte(`{"` + k.key + `":` + k.good + `,"` + twin + `":` + k.good + `}`))
			check.Error(t, err, twin+": stands beside", `"`+k.key+`"`, "names the same field")
		})
	}
	// Three that are one field to encoding/json: the long s, and the Kelvin sign.
	_, _, err := ParseConfig([]byte(`{"clusterNetwork":"a","cluſterNetwork":"b","clusterNetworK":"c"}`))
	check.Error(t, err, `"clusterNetwork"`, "stands beside")
	if got := strings.Count(err.Error(), "stands beside"); got != 2 {
		t.Errorf("%d twins in %q, want 2", got, err)
	}
}

// TestConfigTableIsComplete holds the table to the type: no key goes untested.
func TestConfigTableIsComplete(t *testing.T) {
	tested := map[string]bool{"-": true}
	for _, k := range configKeys {
		tested[k.key] = true
	}
	fields := reflect.TypeFor[Config]()
	for i := range fields.NumField() {
		if key := jsonKey(fields.Field(i)); !tested[key] {
			t.Errorf("key %q is not in configKeys", key)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	want := &Config{
		ClusterNetwork:           "master",
		ConfDir:                  "/etc/cni/multus/net.d",
		CNIDir:                   "/var/lib/cni/plexus",
		BinDir:                   "/opt/cni/bin",
		AgentSocket:              "/run/plexus/agent.sock",
		PodResourcesSocket:       "/var/lib/kubelet/pod-resources/kubelet.sock",
		DeviceCheckpoint:         "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
		GlobalNamespaces:         CommaList{"default"},
		SystemNamespaces:         []string{"kube-system"},
		MultusNamespace:          "kube-system",
		DefaultNetworkNamespaces: []string{"kube-system"},
		Result:                   "default",
		AddTimeout:               Duration(90 * time.Second),
		DelegateTimeout:          Duration(time.Minute),
		LogLevel:                 "warning",
		LogToStderr:              true,
		LogOptions:               LogOptions{MaxAge: 5, MaxSize: 100, MaxBackups: 5, Compress: true},
	}
	wantEqual(t, want, mustConfig(t, `{"clusterNetwork":"master"}`))
}

func TestConfigDerived(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		get        func(*Config) any
		want       any
	}{
		{"the default network comes from multusNamespace", `"multusNamespace":"ops"`, func(c *Config) any { return c.DefaultNetworkNamespaces }, []string{"ops"}},
		{"unless it is said who may", `"multusNamespace":"ops","defaultNetworkNamespaces":[]`, func(c *Config) any { return c.DefaultNetworkNamespaces }, []string{}},
		{"an empty path is the default", `"confDir":"","cniDir":"","binDir":""`, func(c *Config) any { return c.ConfDir + c.CNIDir + c.BinDir }, DefaultConfDir + DefaultCNIDir + DefaultBinDir},
		{"an empty namespace is the default", `"multusNamespace":""`, func(c *Config) any { return c.MultusNamespace }, DefaultNamespace},
		{"an empty level is the default", `"logLevel":"","result":""`, func(c *Config) any { return c.LogLevel + c.Result }, "warningdefault"},
		{"an empty list of namespaces is the default", `"globalNamespaces":""`, func(c *Config) any { return c.GlobalNamespaces }, CommaList{"default"}},
		{"a list without elements is none", `"globalNamespaces":" , "`, func(c *Config) any { return c.GlobalNamespaces }, CommaList(nil)},
		{"no system namespaces", `"systemNamespaces":[]`, func(c *Config) any { return c.SystemNamespaces }, []string{}},
		{"part of logOptions keeps the rest", `"logOptions":{"maxAge":9}`, func(c *Config) any { return c.LogOptions }, LogOptions{MaxAge: 9, MaxSize: 100, MaxBackups: 5, Compress: true}},
		{"durations as Go writes them", `"addTimeout":"1500ms"`, func(c *Config) any { return c.AddTimeout }, Duration(1500 * time.Millisecond)},
		{"the shortest duration", `"addTimeout":"1s","delegateTimeout":"1s"`, func(c *Config) any { return c.AddTimeout + c.DelegateTimeout }, Duration(2 * time.Second)},
		{"the longest", `"addTimeout":"180s","delegateTimeout":"3m"`, func(c *Config) any { return c.AddTimeout + c.DelegateTimeout }, Duration(6 * time.Minute)},
		{"an allow-list that allows nothing is one", `"allowedPlugins":{}`, func(c *Config) any { return c.AllowedPlugins != nil }, true},
		{"no plugin is started ahead", `"startAhead":[]`, func(c *Config) any { return c.StartAhead }, []string{}},
		{"those that are known to wait", `"startAhead":null`, func(c *Config) any { return c.StartAhead == nil }, true},
		{"no allow-list", `"allowedPlugins":null`, func(c *Config) any { return c.AllowedPlugins == nil }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantEqual(t, tc.want, tc.get(mustConfig(t, `{"clusterNetwork":"master",`+tc.data+`}`)))
		})
	}
}

// TestConfigValidAttachments: a GC without the list must free nothing, one with an
// empty list frees all, so that the two must never be confused.
func TestConfigValidAttachments(t *testing.T) {
	one := []GCAttachment{{ContainerID: "c", IfName: "eth0"}}
	for _, tc := range []struct {
		name, keys string
		has        bool
		want       []GCAttachment
	}{
		{"none", `"name":"n"`, false, nil},
		{"null is empty", `"cni.dev/valid-attachments":null`, true, nil},
		{"null by the older name", `"cni.dev/attachments":null`, true, nil},
		{"null by both", `"cni.dev/attachments":null,"cni.dev/valid-attachments":null`, true, nil},
		{"null, and a list by the older name", `"cni.dev/attachments":[{"containerID":"c","ifname":"eth0"}],"cni.dev/valid-attachments":null`, true, one},
		{"empty", `"cni.dev/valid-attachments":[]`, true, nil},
		{"one", `"cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]`, true, one},
		{"by libcni's older name", `"cni.dev/attachments":[{"containerID":"c","ifname":"eth0"}]`, true, one},
		{"empty by the older name", `"cni.dev/attachments":[]`, true, nil},
		{"by both, the specification's counts", `"cni.dev/attachments":[],"cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]`, true, one},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustConfig(t, `{"clusterNetwork":"master",`+tc.keys+`}`)
			for range 2 { // as it came, and read back
				if c.HasValidAttachments != tc.has {
					t.Errorf("HasValidAttachments is %v, want %v", c.HasValidAttachments, tc.has)
				}
				wantEqual(t, tc.want, c.ValidAttachments)
				c = mustConfig(t, string(mustMarshal(t, c)))
			}
		})
	}
	_, _, err := ParseConfig(withKey("cni.dev/attachments", `{}`))
	check.Error(t, err, "cni.dev/attachments: must be an array")
}

// TestConfigStandardKeys: what CNI allows in any configuration is not unknown.
func TestConfigStandardKeys(t *testing.T) {
	mustConfig(t, `{"clusterNetwork":"m","cniVersions":["1.1.0"],"args":{},"ipam":{},"dns":{},"disableCheck":true,"disableGC":true,
		"cni.dev/valid-attachments":[],"cni.dev/attachments":[]}`)
}

func TestConfigUnknownKeys(t *testing.T) {
	_, unknown, err := ParseConfig([]byte(`{"clusterNetwork":"m","zebra":1,"logLevle":"debug","_comment":null}`))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []string{"_comment", "logLevle (the nearest known key is logLevel)", "zebra"}, unknown)
}

func TestConfigRefused(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		words      []string
	}{
		{"nothing", ``, []string{"must be a JSON object, got nothing"}},
		{"null", `null`, []string{"must be a JSON object, got null"}},
		{"an array", ` [1]`, []string{"must be a JSON object, got an array"}},
		{"half an object", `{"name":`, []string{"is not valid JSON"}},
		{"two objects", `{} {}`, []string{"is not valid JSON", "after top-level value"}},
		{"no network", `{"name":"outer"}`, []string{`network "outer"`, "clusterNetwork: one of clusterNetwork and delegates"}},
		{"no delegate", `{"delegates":[]}`, []string{"clusterNetwork: one of clusterNetwork and delegates"}},
		{"a delegate that is none", `{"delegates":[{"type":"a"},"b",null]}`, []string{
			"delegates[1]: must be a CNI network configuration, got a string",
			"delegates[2]: must be a CNI network configuration, got null",
		}},
		{"an empty default network", `{"clusterNetwork":"m","defaultNetworks":["a",""]}`, []string{"defaultNetworks[1]: must not be empty"}},
		{"a list with a wrong element", `{"defaultNetworks":["a",3]}`, []string{"defaultNetworks: must be a string, got a JSON number"}},
		{"result", `{"clusterNetwork":"m","result":"some"}`, []string{`result: must be "default" or "all", got "some"`}},
		{"a chain with a path", `{"clusterNetwork":"m","auxiliaryCNIChainName":"a/b"}`, []string{`auxiliaryCNIChainName: must be the plain name of a folder, got "a/b"`}},
		{"a chain above", `{"clusterNetwork":"m","auxiliaryCNIChainName":".."}`, []string{`auxiliaryCNIChainName`, `got ".."`}},
		{"a path to be started ahead", `{"clusterNetwork":"m","startAhead":["bridge","/opt/cni/bin/x",""]}`, []string{
			`startAhead[1]: must be a plugin's plain name, got "/opt/cni/bin/x"`, `startAhead[2]: must be a plugin's plain name, got ""`,
		}},
		{"an allowed path", `{"clusterNetwork":"m","allowedPlugins":{"ns":["a","/bin/b",""]}}`, []string{
			`allowedPlugins.ns[1]: must be a plugin's plain name, got "/bin/b"`, `allowedPlugins.ns[2]: must be a plugin's plain name, got ""`,
		}},
		{"firstInterfaceIndex", `{"clusterNetwork":"m","firstInterfaceIndex":-1}`, []string{"firstInterfaceIndex: must not be negative, got -1"}},
		{"no duration", `{"clusterNetwork":"m","addTimeout":"90"}`, []string{`addTimeout: must be a duration as "90s" or "1m30s", got "90"`}},
		{"an empty duration", `{"clusterNetwork":"m","delegateTimeout":""}`, []string{`delegateTimeout: must be a duration`, `got ""`}},
		{"too short", `{"clusterNetwork":"m","addTimeout":"999ms"}`, []string{"addTimeout: must be between 1s and 3m0s, got 999ms"}},
		{"too long", `{"clusterNetwork":"m","addTimeout":"181s"}`, []string{"addTimeout: must be between 1s and 3m0s, got 3m1s"}},
		{"negative", `{"clusterNetwork":"m","delegateTimeout":"-5s"}`, []string{"delegateTimeout: must be between 1s and 3m0s, got -5s"}},
		{"a delegate for ever", `{"clusterNetwork":"m","delegateTimeout":"1h"}`, []string{"delegateTimeout: must be between 1s and 3m0s, got 1h0m0s"}},
		{"logOptions of a wrong type", `{"clusterNetwork":"m","logOptions":{"maxAge":"5","compress":1}}`, []string{
			"logOptions.maxAge: must be a whole number, got a string", "logOptions.compress: must be true or false, got a number",
		}},
		{"logOptions below zero", `{"clusterNetwork":"m","logOptions":{"maxAge":-1,"maxSize":-2,"maxBackups":-3}}`, []string{
			"logOptions.maxAge: must not be negative, got -1", "logOptions.maxSize: must not be negative, got -2", "logOptions.maxBackups: must not be negative, got -3",
		}},
		{"logOptions with twins", `{"clusterNetwork":"m","logOptions":{"maxAge":1,"MAXAGE":2}}`, []string{`logOptions.MAXAGE: stands beside "maxAge"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := ParseConfig([]byte(tc.data))
			check.Error(t, err, tc.words...)
		})
	}
}

func TestConfigPaths(t *testing.T) {
	for _, key := range []string{"confDir", "cniDir", "binDir", "kubeconfig", "agentSocket", "manifests", "podResourcesSocket", "deviceCheckpoint", "readinessindicatorfile", "logFile"} {
		t.Run(key, func(t *testing.T) {
			_, _, err := ParseConfig(withKey(key, `"etc/cni"`))
			check.Error(t, err, key+`: must be an absolute path, got "etc/cni"`)
		})
	}
}

// TestConfigAllFaultsAtOnce: neither wrong types nor wrong values hide each other.
func TestConfigAllFaultsAtOnce(t *testing.T) {
	_, _, err := ParseConfig([]byte(`{"name":"outer","confDir":1,"logToStderr":"no","delegates":{},"addTimeout":"soon","logOptions":{"maxSize":"big"}}`))
	check.Error(t, err, `network "outer"`, "confDir:", "logToStderr:", "delegates:", "addTimeout:", "logOptions.maxSize:")
	_, _, err = ParseConfig([]byte(`{"confDir":"c","result":"x","firstInterfaceIndex":-1,"delegateTimeout":"1ms"}`))
	check.Error(t, err, "clusterNetwork:", "confDir:", "result:", "firstInterfaceIndex:", "delegateTimeout:")
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is not one line: %q", err)
	}
}

// TestConfigFaultsInOrder: the same input has the same error, which events are counted
// by.
func TestConfigFaultsInOrder(t *testing.T) {
	const data = `{"clusterNetwork":"m","allowedPlugins":{"d":[""],"c":[""],"b":[""],"a":[""]},"logOptions":{"maxAge":-1,"maxSize":-1,"maxBackups":-1}}`
	_, _, first := ParseConfig([]byte(data))
	for range 20 {
		if _, _, err := ParseConfig([]byte(data)); err.Error() != first.Error() {
			t.Fatalf("once it is\n%v\nonce\n%v", first, err)
		}
	}
}

// TestConfigNoValueInTypeErrors: a value of a wrong type may be large, or a secret.
func TestConfigNoValueInTypeErrors(t *testing.T) {
	_, _, err := ParseConfig(withKey("kubeconfig", `{"token":"hunter2"}`))
	check.Error(t, err, "kubeconfig: must be a string, got a JSON object")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats the value: %q", err)
	}
}

func TestDurationTimeoutOr(t *testing.T) {
	for d, want := range map[Duration]time.Duration{0: time.Minute, Duration(-1): time.Minute, Duration(time.Second): time.Second} {
		if got := d.TimeoutOr(time.Minute); got != want {
			t.Errorf("TimeoutOr of %v is %v, want %v", d, got, want)
		}
	}
}

// A level in another case, or one that does not exist, stops nothing in Multus either.
func TestConfigLogLevelAsMultusTakesIt(t *testing.T) {
	c, odd, err := ParseConfig([]byte(`{"clusterNetwork":"m","logLevel":"Debug"}`))
	if err != nil || c.LogLevel != "debug" || len(odd) != 0 {
		t.Errorf("got level %q, odd %q, error %v", c.LogLevel, odd, err)
	}
	c, odd, err = ParseConfig([]byte(`{"clusterNetwork":"m","logLevel":"loud"}`))
	if err != nil || c.LogLevel != "warning" || len(odd) != 1 || !strings.Contains(odd[0], `logLevel: "loud"`) {
		t.Errorf("got level %q, odd %q, error %v", c.LogLevel, odd, err)
	}
}
