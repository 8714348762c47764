package window

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

const (
	saved = "../inspect/testdata/host-end-off-bridge.json"
	page  = "../../docs/inspect.md"
)

// The page shows what the commands print. Run a test with -update after a change, one after the other.
func TestInspectExample(t *testing.T) {
	pageShows(t, exitWrong, "inspect", "default/web")
}

func TestGetExample(t *testing.T) {
	pageShows(t, exitFine, "get")
}

// pageShows compares the example of a command on the page with what it prints.
func pageShows(t *testing.T, code int, command string, args ...string) {
	t.Helper()
	got := runWith(t, "", append([]string{command, "--from", saved}, args...)...)
	check.Equal(t, "exit code", got.code, code)
	text, err := os.ReadFile(page)
	check.Must(t, err)
	line := strings.Join(append([]string{command, "--from internal/inspect/testdata/host-end-off-bridge.json"}, args...), " ")
	start, end := "```\n$ kubectl-plexus "+line+"\n", "```\n"
	before, rest, found := strings.Cut(string(text), start)
	_, after, ended := strings.Cut(rest, end)
	check.Equal(t, "the page has the example", found && ended, true)
	check.Golden(t, page, []byte(before+start+strings.TrimRight(got.stdout, "\n")+"\n"+end+after))
}

func TestInspect(t *testing.T) {
	data, err := os.ReadFile(saved)
	check.Must(t, err)
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"a pod with a fault":         {[]string{"default/web"}, exitWrong, "host-end-off-bridge", ""},
		"a pod without one":          {[]string{"default/db"}, exitFine, "Nothing is wrong.", ""},
		"a pod of the namespace":     {[]string{"db", "-n", "default"}, exitFine, "pod default/db", ""},
		"a pod of default":           {[]string{"db"}, exitFine, "pod default/db", ""},
		"a pod of no namespace":      {[]string{"db", "-n", "shop"}, exitBlind, "", "pod shop/db: not found on this node: the journal has no record of it, nor has a runtime's folder; the path of a network namespace, as /run/netns/NAME, can stand for a pod that Plexus has not attached (--from -)"},
		"a container":                {[]string{"--container", "w"}, exitWrong, "pod default/web", ""},
		"a path":                     {[]string{"--netns", "/run/netns/db"}, exitFine, "pod default/db", ""},
		"a path that is not there":   {[]string{"--netns", "/run/netns/x"}, exitBlind, "", "network namespace /run/netns/x: not found"},
		"nothing named":              {nil, exitUsage, "", "name exactly one"},
		"two named":                  {[]string{"default/web", "--netns", "/x"}, exitUsage, "", "name exactly one"},
		"a format that is not one":   {[]string{"default/web", "-o", "svg"}, exitUsage, "", `"svg"`},
		"two pods":                   {[]string{"a/b", "c/d"}, exitUsage, "", `inspect takes one pod, as NAMESPACE/POD, got ["a/b" "c/d"]`},
		"a file that is not there":   {[]string{"a/b", "--from", "/nonexistent"}, exitBlind, "", "--from: open /nonexistent"},
		"a file that is no snapshot": {[]string{"a/b", "--from", "inspect.go"}, exitBlind, "", "--from inspect.go: this is not a snapshot"},
		"commands by hand":           {[]string{"default/db", "--commands"}, exitFine, "$ nsenter --net=/run/netns/db ip address show dev eth0", ""},
		"commands in a document":     {[]string{"default/db", "--commands", "-o", "json"}, exitUsage, "", "--commands goes with the output text alone"},
		"the other name of a path":   {[]string{"--netns", "/var/run/netns//db"}, exitFine, "pod default/db", ""},
		"a file that has no name":    {[]string{"a/b", "--from", ""}, exitUsage, "", "--from names no file"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, string(data), append([]string{"inspect", "--from", "-"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "output", got.stdout, tc.stdout)
			check.Contains(t, "error", got.stderr, tc.stderr)
			if (got.stderr == "") != (tc.stderr == "") {
				t.Errorf("error: %q", got.stderr)
			}
		})
	}
}

func TestGet(t *testing.T) {
	data, err := os.ReadFile(saved)
	check.Must(t, err)
	changed := strings.ReplaceAll(string(data), `"10.2.0.3/16"`, `"10.2.0.4/16"`)
	changed = strings.Replace(changed, `"10.2.0.4/16"`, `"10.2.0.3/16"`, 1) // of the interface and of its record, one
	check.Equal(t, "the snapshot is another", changed != string(data), true)
	for name, tc := range map[string]struct {
		stdin  string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"all":                      {string(data), nil, exitFine, "default/web  net0", ""},
		"one pod":                  {string(data), []string{"default/db", "-o", "wide"}, exitFine, "macvlan", ""},
		"a pod that is not there":  {string(data), []string{"x"}, exitBlind, "", "pod default/x: not found on this node: the journal has no attachment of it"},
		"a network of nobody":      {string(data), []string{"--network", "none"}, exitFine, "no such attachment", ""},
		"one network":              {string(data), []string{"--network", "default/storage", "-o", "json"}, exitFine, `"kind": "AttachmentList"`, ""},
		"one that changed":         {changed, nil, exitWrong, "changed (net0 lacks 10.2.0.", ""},
		"a format that is not one": {string(data), []string{"-o", "svg"}, exitUsage, "", `"svg"`},
		"two pods":                 {string(data), []string{"a/b", "c/d"}, exitUsage, "", `get takes one pod, as NAMESPACE/POD, got ["a/b" "c/d"]`},
		"no snapshot":              {"{}", nil, exitBlind, "", "this is not a snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, tc.stdin, append([]string{"get", "--from", "-"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "output", got.stdout, tc.stdout)
			check.Contains(t, "error", got.stderr, tc.stderr)
		})
	}
}

// The journal of a node with another cniDir is in another folder: the error says where was looked.
func TestNotFoundSaysWhere(t *testing.T) {
	missing := fmt.Errorf("pod a/b: %w", inspect.ErrNotFound)
	for want, i := range map[string]inspection{
		"--state-dir /x": {node: nodeFlags{stateDir: "/x"}, pod: "a/b"},
		"--from n.json":  {node: nodeFlags{stateDir: "/x", from: "n.json"}, pod: "a/b"},
	} {
		check.Error(t, i.explainNotFound(missing), want)
	}
	check.Equal(t, "of a path", (&inspection{netns: "/y"}).explainNotFound(missing).Error(), missing.Error())
}

func TestInspectJSON(t *testing.T) {
	got := runWith(t, "", "inspect", "--from", saved, "default/web", "-o", "json")
	check.Equal(t, "exit code", got.code, exitWrong)
	var report inspect.Report
	check.Must(t, json.Unmarshal([]byte(got.stdout), &report))
	check.Equal(t, "kind", report.Kind, inspect.ReportKind)
	check.Equal(t, "finding", report.Findings[0].ID, "host-end-off-bridge")
	check.Equal(t, "host end", report.Related[0].In, "the node")
}
