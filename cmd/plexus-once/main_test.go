package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"--help", 0, "It is not for people", ""},
		{"--version", 0, "plexus-once v", ""},
		{"--nonsense", 2, "", "flag provided but not defined: -nonsense"},
		{"argument", 2, "", `unexpected argument "argument"`},
	} {
		var stdout, stderr strings.Builder
		code := run(strings.Fields(test.args), &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", test.args, code, &stdout, &stderr)
		}
	}
}

// TestLinksLittle holds what start-up time depends on: see package k8sclient.
func TestLinksLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"k8s.io/api/", "k8s.io/client-go/kubernetes", "k8s.io/client-go/informers", "google.golang.org/", "github.com/containernetworking/", "github.com/vishvananda/"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("plexus-once links %s", dep)
			}
		}
	}
	if !slices.Contains(strings.Fields(string(out)), "net/http") {
		t.Error("go list said nothing of use")
	}
}
