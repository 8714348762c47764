package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../../.."

// The list fits the code: every mutation changes what it says it changes, and every test that
// must fail is there. Whether it fails, make mutate tells.
func TestPromisesFitTheCode(t *testing.T) {
	list, err := parsePromises(promises)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range list {
		if seen[p.says] {
			t.Errorf("%s: is there twice", p.says)
		}
		seen[p.says] = true
		if _, err := p.mutated(root); err != nil {
			t.Errorf("%s: %v", p.says, err)
		}
		if err := p.checkTests(root); err != nil {
			t.Errorf("%s: %v", p.says, err)
		}
	}
}

func TestParsePromises(t *testing.T) {
	text := "# a comment\n\n# another\nA is kept\na/b.go\n./a TestA|TestB\n-\tone\n-\ttwo\n+\tthree\n\nB is kept\nb.go\n./b TestC\n-x\n"
	got, err := parsePromises(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []promise{
		{says: "A is kept", file: "a/b.go", pkg: "./a", test: "TestA|TestB", old: "\tone\n\ttwo", new: "\tthree"},
		{says: "B is kept", file: "b.go", pkg: "./b", test: "TestC", old: "x"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(promise{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"A is kept\na.go\n./a TestA", "A is kept\na.go\n./a TestA\nx"} {
		if _, err := parsePromises(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestMutated(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", "package a\n\nvar one, two = 1, 1\n")
	write("a_test.go", "package a\n\nfunc TestA(t *testing.T) {}\n")
	for name, tc := range map[string]struct {
		p    promise
		want string // in what comes of it, or in the error
	}{
		"once":    {promise{old: "one, two", new: "two, one"}, "var two, one"},
		"twice":   {promise{old: "1"}, "2 times"},
		"not":     {promise{old: "three"}, "0 times"},
		"nothing": {promise{}, "times"},
		"no Go":   {promise{old: "var"}, "is not Go"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.p.file = "a.go"
			code, err := tc.p.mutated(dir)
			if err != nil {
				code = []byte(err.Error())
			}
			if !strings.Contains(string(code), tc.want) {
				t.Errorf("got %s, want %q", code, tc.want)
			}
		})
	}
	for tests, says := range map[string]string{"TestA": "", "TestA|TestB": `has no test "TestB"`, "": "has no test", "TestAB": "has no test"} {
		err := (&promise{pkg: ".", test: tests}).checkTests(dir)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", tests, err, says)
		}
	}
}
