package window

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/xeipuuv/gojsonschema"

	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/validate"
)

// published are the documents that commands print, each with its kind.
var published = map[string]any{
	inspect.Kind: &inspect.Snapshot{}, inspect.ReportKind: &inspect.Report{}, inspect.AttachedKind: &inspect.AttachedList{},
	inspect.DoctorKind: &inspect.Doctor{}, inspect.DoctorListKind: &inspect.DoctorList{}, inspect.ReleaseListKind: &inspect.ReleaseList{},
	explain.Kind: &explain.Document{}, path.Kind: &path.Document{}, "ValidationReport": validate.Versioned(&validate.Report{}),
}

// schemaOf makes the schema of a document of its Go type. Fields are added within a version, so that
// a reader has to take unknown ones.
func schemaOf(t *testing.T, kind string) []byte {
	t.Helper()
	reflector := jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, ExpandedStruct: true}
	for _, folder := range []string{"inspect", "explain", "validate", "inspect/path"} {
		check.Must(t, reflector.AddGoComments("github.com/plexus-cni/plexus/internal/window", "../"+folder))
	}
	for name, comment := range reflector.CommentMap { // it takes ".." for a folder
		reflector.CommentMap[strings.Replace(name, "/window/../", "/", 1)] = comment
		reflector.CommentMap[strings.Replace(name, "/window/", "/", 1)] = comment
	}
	schema := reflector.Reflect(published[kind])
	schema.Version = "http://json-schema.org/draft-07/schema#"
	schema.Title = kind + " of " + inspect.APIVersion
	schema.Properties.Value("kind").Const = kind
	schema.Properties.Value("apiVersion").Const = inspect.APIVersion
	var text bytes.Buffer
	check.Must(t, writeJSON(&text, schema))
	return text.Bytes()
}

// The schemas are those of the types. Run the test with -update after a change.
func TestSchemas(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(published)) {
		check.Golden(t, "../../docs/schemas/"+kind+".json", schemaOf(t, kind))
	}
	files, err := filepath.Glob("../../docs/schemas/*")
	check.Must(t, err)
	check.Equal(t, "schemas", len(files), len(published))
}

// What commands print is as its schema says, and what is broken is not.
func TestDocumentsFollowSchemas(t *testing.T) {
	seen := map[string]bool{}
	known := withOutput(t)
	known["snapshot"] = []string{"--from", saved}
	delete(known, "release") // it only refuses
	for command, args := range known {
		args = append([]string{command}, args...)
		if command != "snapshot" {
			args = append(args, "-o", "json")
		}
		printed := runWith(t, "", args...).stdout
		var head struct{ Kind string }
		check.Must(t, json.Unmarshal([]byte(printed), &head))
		seen[head.Kind] = true
		check.Equal(t, "faults of what "+command+" prints", faultsOf(t, head.Kind, printed), nil)
		broken := strings.Replace(printed, `"plexus-cni.io/v1alpha1"`, `7`, 1)
		check.Equal(t, "faults of a broken "+head.Kind, len(faultsOf(t, head.Kind, broken)) > 0, true)
	}
	seen[inspect.DoctorListKind] = true // of a whole cluster
	check.Equal(t, "kinds", len(seen), len(published))
}

func faultsOf(t *testing.T, kind, document string) (faults []string) {
	t.Helper()
	result, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(schemaOf(t, kind)), gojsonschema.NewStringLoader(document))
	check.Must(t, err)
	for _, fault := range result.Errors() {
		faults = append(faults, fault.String())
	}
	return faults
}
