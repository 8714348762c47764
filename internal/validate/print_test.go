package validate

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xeipuuv/gojsonschema"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// reported has a finding of each severity, and text that every format has to escape.
var reported = &Report{Files: 2, Networks: 1, Pods: 1, Findings: []Finding{
	{
		Rule: ruleConfig, Severity: Error, File: "dir/a, b:1.yaml", Line: 7, Column: 15, Object: "NetworkAttachmentDefinition default/lan",
		Field: "spec.config: plugins[0].type", Message: "type: plugin \"a/b\" is 100% wrong\nand\x1b[31m more", Do: "Change it.", Template: "chart/templates/net.yaml",
	},
	{Rule: ruleNameTwice, Severity: Warning, File: "/abs/b.yaml", Line: 1, Column: 1, Object: "Pod default/web", Message: "<twice>", Do: "Mend it."},
	{Rule: ruleNotGiven, Severity: Note, File: "<stdin>", Line: 3, Column: 9, Message: "not here", Do: "Add it."},
}}

func TestFormats(t *testing.T) {
	for name, print := range Formats {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			check.Must(t, print(&b, reported))
			check.Golden(t, filepath.Join("testdata", "report."+name), b.Bytes())
		})
	}
}

// Nothing found is an empty list, never null.
func TestFormatsOfNothing(t *testing.T) {
	for name, want := range map[string]string{"json": `"findings": []`, "sarif": `"results": []`, "text": "1 file, 0 networks", "github": ""} {
		var b bytes.Buffer
		check.Must(t, Formats[name](&b, &Report{Files: 1}))
		check.Contains(t, name, b.String(), want)
		if name == "github" && b.Len() > 0 {
			t.Errorf("GitHub gets %q", b.String())
		}
	}
}

// A workflow command is one line, whatever a file has in it, and its properties hold no separator.
func TestGitHubEscapes(t *testing.T) {
	var b bytes.Buffer
	r := &Report{Findings: []Finding{{Rule: "a", Severity: Error, File: "x,line=9::y%\r\nz", Line: 1, Column: 2, Do: "d\n%", Message: "m%0A\r\n::error::n"}}}
	check.Must(t, GitHub(&b, r))
	check.Equal(t, "commands", b.String(), "::error file=x%2Cline=9%3A%3Ay%25%0D%0Az,line=1,col=2,title=plexus a::m%250A  ::error::n%0Ad%0A%25\n")
}

func sarifOf(t *testing.T, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	check.Must(t, SARIF(&b, r))
	return b.Bytes()
}

func TestSARIFIsValid(t *testing.T) {
	schema, err := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	check.Must(t, err)
	file, _ := marked("a.yaml", nad("a", `{"type": 1}`)+selects("A,b")+"a: [")
	examined, err := Run(t.Context(), []File{file}, Options{})
	check.Must(t, err)
	for name, tc := range map[string]struct {
		text  []byte
		valid bool
	}{
		"nothing found": {sarifOf(t, &Report{}), true},
		"made up":       {sarifOf(t, reported), true},
		"examined":      {sarifOf(t, examined), true},
		"no version":    {[]byte(strings.Replace(string(sarifOf(t, reported)), `"version": "2.1.0"`, `"version": "2"`, 1)), false},
		"line 0":        {sarifOf(t, &Report{Findings: []Finding{{Rule: ruleYAML, Severity: Error, File: "a"}}}), false},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(schema), gojsonschema.NewBytesLoader(tc.text))
			check.Must(t, err)
			if result.Valid() != tc.valid {
				t.Errorf("valid is %v: %v\n%s", result.Valid(), result.Errors(), tc.text)
			}
		})
	}
}

var fingerprintLine = regexp.MustCompile(`"plexusFinding/v1": "(\w+)"`)

// The fingerprint of a finding stays when lines are put before it, and differs between findings.
func TestSARIFFingerprints(t *testing.T) {
	prints := func(before string) []string {
		file, _ := marked("a.yaml", before+nad("a", `{"plugins": [{"type": 1}, {"type": 1}]}`)+selects("A,B")+selects("A,B"))
		r, err := Run(t.Context(), []File{file}, Options{})
		check.Must(t, err)
		var all []string
		for _, found := range fingerprintLine.FindAllSubmatch(sarifOf(t, r), -1) {
			all = append(all, string(found[1]))
		}
		return all
	}
	before := prints("")
	check.Equal(t, "after lines were added", prints("# one\n\n# two\n"), before)
	check.Equal(t, "number", len(before), 8)
	slices.Sort(before)
	check.Equal(t, "different ones", len(slices.Compact(before)), 8)
}

func TestJSONIsVersioned(t *testing.T) {
	var b bytes.Buffer
	check.Must(t, JSON(&b, reported))
	var got struct {
		Kind, APIVersion string
		Findings         []Finding
	}
	check.Must(t, json.Unmarshal(b.Bytes(), &got))
	check.Equal(t, "kind", got.Kind, "ValidationReport")
	check.Equal(t, "version", got.APIVersion, "plexus-cni.io/v1alpha1")
	check.Equal(t, "findings", got.Findings, reported.Findings)
}

// A message can stand alone, as GitHub and SARIF show it: it says what it is about.
func TestMessagesNameTheirField(t *testing.T) {
	for want, f := range map[string]Finding{
		"spec.config: is not valid JSON": {Field: "spec.config", Message: "is not valid JSON"},
		"metadata.name: is missing":      {Field: "metadata.name", Message: "is missing"},
		"type: is missing":               {Field: "spec.config: type", Message: "type: is missing"},
	} {
		for name, write := range map[string]func(io.Writer, *Report) error{"text": Text, "github": GitHub, "sarif": SARIF} {
			var b strings.Builder
			check.Must(t, write(&b, &Report{Findings: []Finding{f}}))
			check.Contains(t, name, strings.ReplaceAll(b.String(), "error: ", ""), want)
			if strings.Contains(b.String(), "config: type: type") {
				t.Errorf("%s names the field twice: %s", name, b.String())
			}
		}
	}
}
