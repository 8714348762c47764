package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
	"github.com/plexus-cni/plexus/types"
)

// keyLike matches what could be a key. Values such as "ADD" are not.
var keyLike = regexp.MustCompile(`^(cni\.dev/)?[a-z][A-Za-z0-9_-]*$|^CNIDeviceInfoFile$`)

// linkedKey matches a key in a table that leads to its paragraph.
var linkedKey = regexp.MustCompile("\\[`([^`]+)`\\]\\(#[^)]+\\)")

// keyFaults compares the keys in the tables of a page's sections with those of a parser.
// Each must lead to its paragraph; TestLinksResolve looks that it is there. An object
// whose keys are in the tables may be left out itself.
func keyFaults(page string, real []string, titles ...string) []string {
	var documented, headings, linked []string
	for _, title := range titles {
		part := section(page, title)
		if part == "" {
			return []string{"there is no section " + title}
		}
		documented = append(documented, tableWords(part)...)
		for _, row := range tableCells(part) {
			for _, link := range linkedKey.FindAllStringSubmatch(row[0], -1) {
				linked = append(linked, link[1])
			}
		}
		for _, line := range strings.Split(part, "\n") {
			if name, ok := strings.CutPrefix(line, "### "); ok && keyLike.MatchString(name) {
				headings = append(headings, name)
			}
		}
	}
	isObject := func(key string) bool {
		return slices.ContainsFunc(real, func(inner string) bool { return strings.HasPrefix(inner, key+".") })
	}
	withoutObjects := func(keys []string) []string { return slices.DeleteFunc(slices.Clone(keys), isObject) }
	faults := differences(withoutObjects(documented), withoutObjects(real))
	for _, key := range documented {
		if !slices.Contains(linked, key) {
			faults = append(faults, key+" does not lead to its paragraph")
		}
	}
	for _, key := range withoutObjects(headings) {
		if !slices.Contains(real, key) {
			faults = append(faults, key+" has a paragraph, and does not exist")
		}
	}
	return faults
}

// configurationKeys are the sections of docs/configuration.md with the keys of the node's file.
var configurationKeys = []string{
	"## Keys: what is attached", "## Keys: where facts come from", "## Keys: who may what", "## Keys: behaviour and time",
	"## Keys: the log", "## Keys of the CNI specification",
}

func TestConfigurationDocumentsEveryKey(t *testing.T) {
	keys := knownKeys(t, "types", func(key string) bool {
		data, err := json.Marshal(map[string]any{"clusterNetwork": "m", "delegates": []any{map[string]any{}}, key: nil})
		if err != nil {
			t.Fatal(err)
		}
		_, unknown, err := types.ParseConfig(data)
		return err == nil && len(unknown) == 0
	})
	for _, key := range taggedKeys(reflect.TypeFor[types.Config]()) {
		switch {
		case strings.Contains(key, "."):
			keys = append(keys, key)
		case !slices.Contains(keys, key):
			t.Errorf("types.Config has the key %s, which its parser does not know", key)
		}
	}
	if len(keys) < 40 || !slices.Contains(keys, "logOptions.maxAge") {
		t.Fatalf("only %d keys: %q", len(keys), keys)
	}
	reportAll(t, "docs/configuration.md", keyFaults(readDoc(t, "docs/configuration.md"), keys, configurationKeys...))
}

// TestConfigurationDefaults compares the second column of the tables, if it is a JSON
// value, with what the parser fills in.
func TestConfigurationDefaults(t *testing.T) {
	config, _, err := types.ParseConfig([]byte(`{"clusterNetwork":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]any{}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &defaults); err != nil {
		t.Fatal(err)
	}
	for key, value := range defaults["logOptions"].(map[string]any) {
		defaults["logOptions."+key] = value
	}
	delete(defaults, "logOptions") // each of its keys has one
	delete(defaults, "clusterNetwork")
	documented := map[string]string{}
	for _, title := range configurationKeys {
		for _, row := range tableCells(section(readDoc(t, "docs/configuration.md"), title)) {
			if key := codeSpan.FindStringSubmatch(row[0]); key != nil && len(row) > 2 {
				documented[key[1]] = row[2]
			}
		}
	}
	if len(documented) < 30 {
		t.Errorf("only %d rows have a default", len(documented))
	}
	reportAll(t, "docs/configuration.md", defaultFaults(documented, defaults))
}

// defaultFaults reports the keys whose default is not the one in the table. A default is
// in code, as JSON or as a bare text; words say that there is none.
func defaultFaults(documented map[string]string, real map[string]any) []string {
	var faults []string
	for key, cell := range documented {
		var want any
		if span := codeSpan.FindStringSubmatch(cell); span != nil {
			if _, isKey := real[span[1]]; isKey {
				continue // it follows another key
			}
			if json.Unmarshal([]byte(span[1]), &want) != nil {
				want = span[1]
			}
		}
		if got := real[key]; !reflect.DeepEqual(plain(want), plain(got)) {
			faults = append(faults, fmt.Sprintf("%s: documented default %v, real default %v", key, want, got))
		}
	}
	slices.Sort(faults)
	return faults
}

// plain gives equal defaults the same form: no value is the zero value, and "1m30s" is "90s".
func plain(value any) any {
	if value == false || value == float64(0) || value == "" {
		return nil
	}
	if text, ok := value.(string); ok {
		if d, err := time.ParseDuration(text); err == nil {
			return d
		}
	}
	return value
}

func TestSRIOVDocumentsEveryKey(t *testing.T) {
	keys := wireKeys(t, "internal/plugin/vf")
	if len(keys) < 25 {
		t.Fatalf("only %d keys: %q", len(keys), keys)
	}
	reportAll(t, "docs/sriov.md", keyFaults(readDoc(t, "docs/sriov.md"), keys, "## Configuration"))
}

func TestVhostUserDocumentsEveryKey(t *testing.T) {
	var own, userspace []string
	for _, outer := range []string{"", "ipam", "runtimeConfig", "host", "host.vhost", "host.bridge", "container", "container.vhost", "container.bridge"} {
		for _, key := range knownKeys(t, "internal/plugin/vhostuser", func(key string) bool { return vhostUserKnows(t, outer, key) }) {
			if outer != "" && strings.Contains(key, "/") {
				continue // left alone, whatever it is
			}
			key = strings.TrimPrefix(outer+"."+key, ".")
			if first, _, _ := strings.Cut(key, "."); slices.Contains([]string{"host", "container", "sharedDir", "kubeconfig", "logFile", "logLevel"}, first) {
				userspace = append(userspace, key)
			} else {
				own = append(own, key)
			}
		}
	}
	if len(own) < 25 || len(userspace) < 20 {
		t.Fatalf("only %d keys: %q, and %d: %q", len(own), own, len(userspace), userspace)
	}
	page := readDoc(t, "docs/vhost-user.md")
	reportAll(t, "docs/vhost-user.md", keyFaults(page, own, "## Keys"))
	reportAll(t, "docs/vhost-user.md", keyFaults(page, userspace, "## Moving from the Userspace CNI plugin"))
}

// vhostUserKnows asks the parser about a key, in both forms of a configuration. It
// refuses keys that it does not know, except in the objects of the CNI specification:
// there a value of a wrong type shows that the key is read.
func vhostUserKnows(t *testing.T, outer, key string) bool {
	t.Helper()
	name, value := strings.TrimPrefix(outer+"."+key, "."), `null`
	strict := outer != "ipam" && outer != "runtimeConfig"
	if !strict {
		value = `[[]]`
	}
	data := strconv.Quote(key) + ":" + value
	if outer != "" {
		folders := strings.Split(outer, ".")
		for _, folder := range slices.Backward(folders) {
			data = strconv.Quote(folder) + ":{" + data + "}"
		}
	}
	for _, form := range []string{"{", `{"host":null,"container":{},`} {
		_, err := vhostuser.ParseConfig([]byte(form + data + "}"))
		if refused := err != nil && strings.Contains(err.Error(), name+": is not a key"); strict && !refused {
			return true
		}
		if !strict && err != nil && strings.Contains(err.Error(), name+": must be a string") {
			return true
		}
	}
	return false
}

// taggedKeys gives the keys of a struct by its JSON tags, and those of the structs in it.
func taggedKeys(of reflect.Type) []string {
	var keys []string
	for i := range of.NumField() {
		field := of.Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" {
			continue
		}
		keys = append(keys, key)
		if field.Type.Kind() == reflect.Struct {
			for _, inner := range taggedKeys(field.Type) {
				keys = append(keys, key+"."+inner)
			}
		}
	}
	return keys
}

// knownKeys gives the string literals of a package that its parser knows as keys.
func knownKeys(t *testing.T, folder string, knows func(string) bool) []string {
	t.Helper()
	var keys []string
	for _, file := range sources(t, folder) {
		ast.Inspect(file, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			key, err := strconv.Unquote(literal.Value)
			if err == nil && keyLike.MatchString(key) && !slices.Contains(keys, key) && knows(key) {
				keys = append(keys, key)
			}
			return true
		})
	}
	return keys
}

// wireKeys gives the keys of the struct `wire` of a package, by its JSON tags.
func wireKeys(t *testing.T, folder string) []string {
	t.Helper()
	var keys []string
	for _, file := range sources(t, folder) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "wire" {
				return true
			}
			if structure, ok := spec.Type.(*ast.StructType); ok {
				keys = append(keys, tagsOf(structure, "")...)
			}
			return false
		})
	}
	return keys
}

func tagsOf(structure *ast.StructType, outer string) []string {
	var keys []string
	for _, field := range structure.Fields.List {
		tag, _ := strconv.Unquote(field.Tag.Value)
		key := outer + strings.Split(reflect.StructTag(tag).Get("json"), ",")[0]
		if inner, ok := field.Type.(*ast.StructType); ok {
			keys = append(keys, tagsOf(inner, key+".")...)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

// sources parses the Go files of a folder, without its tests.
func sources(t *testing.T, folder string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root(t), folder, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// TestKeyFaults feeds pages that are wrong to the comparison.
func TestKeyFaults(t *testing.T) {
	const good = "# Page\n\n## Keys\n\n| key | type |\n|---|---|\n| [`a`](#a) | string |\n| [`b.c`](#b), [`b.d`](#b) | string |\n\n" +
		"### a\n\nText.\n\n### b\n\nText.\n\n### What follows\n\nText.\n\n## Else\n\n| `zebra` | |\n"
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"complete", "", "", nil},
		{"a row less", "| [`a`](#a) | string |\n", "", []string{"a is not documented"}},
		{"half a row less", ", [`b.d`](#b)", "", []string{"b.d is not documented"}},
		{"a row too many", "| [`a`]", "| [`zebra`](#a) | string |\n| [`a`]", []string{"zebra is documented, and does not exist"}},
		{"a row twice", "| [`a`]", "| [`a`](#a) | string |\n| [`a`]", []string{"a is documented twice"}},
		{"no link", "[`a`](#a)", "`a`", []string{"a does not lead to its paragraph"}},
		{"the object too", "| [`a`]", "| [`b`](#b) | object |\n| [`a`]", nil},
		{"a paragraph too many", "### b\n", "### b\n\n### zebra\n", []string{"zebra has a paragraph, and does not exist"}},
		{"a table in a block of code", "| [`a`](#a) | string |", "```\n| [`a`](#a) | string |\n```", []string{"a is not documented"}},
		{"no such section", "## Keys\n", "", []string{"there is no section ## Keys"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantLines(t, tc.want, keyFaults(strings.Replace(good, tc.old, tc.new, 1), []string{"a", "b", "b.c", "b.d"}, "## Keys"))
		})
	}
}

func TestDefaultFaults(t *testing.T) {
	real := map[string]any{"s": "x", "d": "1m30s", "n": float64(5), "l": []any{"a"}, "z": false}
	for _, tc := range []struct {
		key, cell string
		want      []string
	}{
		{"s", " `\"x\"` ", nil},
		{"s", " `x` ", nil},
		{"s", " `d` ", nil},
		{"s", " `\"y\"` ", []string{"s: documented default y, real default x"}},
		{"s", " none ", []string{"s: documented default <nil>, real default x"}},
		{"d", "`\"90s\"`", nil},
		{"d", "`\"91s\"`", []string{"d: documented default 91s, real default 1m30s"}},
		{"n", "`5`", nil},
		{"n", "`five`", []string{"n: documented default five, real default 5"}},
		{"l", "`[\"a\"]`", nil},
		{"l", "`[]`", []string{"l: documented default [], real default [a]"}},
		{"z", "`false`", nil},
		{"none", "required", nil},
		{"none", "`1`", []string{"none: documented default 1, real default <nil>"}},
	} {
		t.Run(tc.key+" "+tc.cell, func(t *testing.T) {
			wantLines(t, tc.want, defaultFaults(map[string]string{tc.key: tc.cell}, real))
		})
	}
}
