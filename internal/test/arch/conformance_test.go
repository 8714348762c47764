package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	testName  = regexp.MustCompile(`\bTest(?:Netns)?Spec_\w+`)
	codePlace = regexp.MustCompile("`([a-z0-9_/]+\\.go):(\\w+)`")
	tableRow  = regexp.MustCompile(`(?m)^\| [0-9].*$`)
)

// testsInTree gives the names of all tests of the repository.
func testsInTree(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range testFunc.FindAllSubmatch(source, -1) {
			names = append(names, string(match[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func conformance(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestConformanceNamesTests: every test that docs/conformance.md names is there, and
// every test of the specification is named by it.
func TestConformanceNamesTests(t *testing.T) {
	tests := testsInTree(t)
	named := testName.FindAllString(conformance(t), -1)
	if len(named) < 50 {
		t.Fatalf("the page names %d tests", len(named))
	}
	for _, name := range named {
		if !slices.Contains(tests, name) {
			t.Errorf("docs/conformance.md names %s, which is not in the tree", name)
		}
	}
	for _, name := range tests {
		if testName.FindString(name) == name && !slices.Contains(named, name) {
			t.Errorf("%s is not in docs/conformance.md", name)
		}
	}
}

// TestConformanceRows: every row has a test and a place in the sources that exists.
func TestConformanceRows(t *testing.T) {
	rows := tableRow.FindAllString(conformance(t), -1)
	if len(rows) < 50 {
		t.Fatalf("the page has %d rows", len(rows))
	}
	for _, row := range rows {
		places := codePlace.FindAllStringSubmatch(row, -1)
		if !testName.MatchString(row) || len(places) == 0 {
			t.Errorf("without a test or a place: %s", row)
		}
		for _, place := range places {
			source, err := os.ReadFile(filepath.Join(root(t), place[1]))
			if err != nil {
				t.Errorf("%v: %s", err, row)
			}
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + place[2] + `[(\[]`).Match(source) {
				t.Errorf("%s has no function %s: %s", place[1], place[2], row)
			}
		}
	}
}
