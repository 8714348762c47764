package types

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// checkLinear holds that twice the input is about twice the work. Maps and slices grow in
// steps, so that it may be three times as much; where each key costs all keys, it is four.
func checkLinear(t *testing.T, do func(n int)) {
	t.Helper()
	const n = 2000
	once, twice := check.Allocated(func() { do(n) }), check.Allocated(func() { do(2 * n) })
	if twice > 3*once {
		t.Errorf("%d bytes of work for %d, %d for twice as many", once, n, twice)
	}
}

func numbered(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ",")
}

// cased gives the i-th way to write a key of 16 letters.
func cased(i int) string {
	key := []byte("aaaaaaaaaaaaaaaa")
	for bit := range key {
		if i>>bit&1 == 1 {
			key[bit] = 'A'
		}
	}
	return string(key)
}

func TestSelectionsWorkIsLinear(t *testing.T) {
	for name, annotation := range map[string]func(n int) string{
		"unknown keys":  func(n int) string { return `[{"name":"a",` + numbered(n, `"%x":0`) + `}]` },
		"arguments":     func(n int) string { return `[{"name":"a","cni-args":{` + numbered(n, `"%x":0`) + `}}]` },
		"addresses":     func(n int) string { return `[{"name":"a","ips":[` + numbered(n, `"fd00::%x"`) + `]}]` },
		"port mappings": func(n int) string { return `[{"name":"a","portMappings":[` + strings.Repeat("{},", n) + `{}]}]` },
		"twins": func(n int) string {
			keys := make([]string, n)
			for i := range keys {
				keys[i] = `"` + cased(i) + `":0`
			}
			return `[{"name":"a",` + strings.Join(keys, ",") + `}]`
		},
		"long values": func(n int) string { return `[{"name":"a","mac":"` + strings.Repeat("f:", n) + `"}]` },
		"commas":      func(n int) string { return strings.Repeat(",", n) },
	} {
		t.Run(name, func(t *testing.T) {
			checkLinear(t, func(n int) { _, _, _ = ParseSelections(annotation(n), "default") })
		})
	}
}

func TestNetConfWorkIsLinear(t *testing.T) {
	keys := func(n int) string { return `{"type":"bridge",` + numbered(n, `"%x":0`) + `}` }
	for name, do := range map[string]func(n int){
		"merge": func(n int) {
			args := map[string]json.RawMessage{}
			for i := range n {
				args[fmt.Sprintf("%x", i)] = json.RawMessage("0")
			}
			c, _ := ParseNetConf([]byte(`{"name":"x","type":"bridge","args":{"cni":{`+numbered(n, `"%X":1`)+`}}}`), "")
			_ = c.MergeCNIArgs(args)
			_, _ = c.Bytes()
		},
		"single": func(n int) {
			c, _ := ParseNetConf([]byte(keys(n)), "x")
			c.SetInEveryPlugin("deviceID", json.RawMessage(`"d"`))
			c.DropPrevResult()
		},
		"list": func(n int) { _, _ = ParseNetConf([]byte(`{"name":"x","plugins":[`+keys(n)+`]}`), "x") },
	} {
		t.Run(name, func(t *testing.T) { checkLinear(t, do) })
	}
}

// The arguments of a pod win over those of the configuration, however these are written.
func TestNetConfMergeInAnyCase(t *testing.T) {
	c := mustNetConf(t, `{"name":"x","type":"a","ARGS":{"CNI":{"Key":1,"other":2,"ſ":3}}}`)
	if err := c.MergeCNIArgs(map[string]json.RawMessage{"kEY": json.RawMessage("9"), "S": json.RawMessage("8")}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, `{"name":"x","plugins":[{"args":{"cni":{"S":8,"kEY":9,"other":2}},"name":"x","type":"a"}]}`, c)
}

func TestSelectionsAtMostSoManyValues(t *testing.T) {
	for key, values := range map[string]func(n int) string{
		"ips":          func(n int) string { return "[" + numbered(n, `"fd00::1:%x"`) + "]" },
		"portMappings": func(n int) string { return "[" + numbered(n, `{"hostPort":1%04d,"containerPort":1}`) + "]" },
		"cni-args":     func(n int) string { return "{" + numbered(n, `"%x":0`) + "}" },
	} {
		t.Run(key, func(t *testing.T) {
			element := func(n int) string { return fmt.Sprintf(`[{"name":"a",%q:%s}]`, key, values(n)) }
			if _, _, err := ParseSelections(element(MaxValues), "pods"); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			_, _, err := ParseSelections(element(MaxValues+1), "pods")
			check.Error(t, err, "element 1 (pods/a): "+key+": has 1025 values, at most 1024 are taken")
		})
	}
}

// However many gateways of a family there are, one error says so.
func TestSelectionsAtMostOneGatewayOfAFamily(t *testing.T) {
	gateways := func(n int) string {
		return `[{"name":"a","default-route":[` + numbered(n, `"fd00::1:%x"`) + `]}]`
	}
	_, _, err := ParseSelections(gateways(MaxValues), "pods")
	check.Error(t, err, `default-route[1]: "fd00::1:1" is a second gateway of IPv6`)
	if n := strings.Count(err.Error(), "default-route"); n != 1 {
		t.Errorf("%d faults of one list", n)
	}
	_, _, err = ParseSelections(gateways(MaxValues+1), "pods")
	check.Error(t, err, "element 1 (pods/a): default-route: has 1025 values, at most 1024 are taken")
}

// A list that is too long to be planned is read all the same: DEL by libcni's cache releases
// what an older version attached by it.
func TestNetConfOfManyPluginsIsRead(t *testing.T) {
	if _, err := ParseNetConf([]byte(`{"name":"x","plugins":[`+numbered(MaxPlugins+1, `{"type":"p%d"}`)+`]}`), ""); err != nil {
		t.Error(err)
	}
}

// An empty key is a key, and no field that is asked for.
func TestSelectionsEmptyKey(t *testing.T) {
	_, unknown, err := ParseSelections(`[{"name":"a","":"x"}]`, "pods")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []string{"element 1 (pods/a): "}, unknown)
}

// A long key is named by its beginning, beside a twin as well.
func TestSelectionsOfLongTwins(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	_, _, err := ParseSelections(`[{"name":"a","`+long+`":1,"`+strings.ToUpper(long)+`":1}]`, "pods")
	check.Error(t, err, "stands beside")
	if len(err.Error()) > 1000 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}
