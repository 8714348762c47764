package arch

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// flagLine matches a line of --help that explains a flag, of our own making, of package
// flag or of cobra.
var (
	flagLine    = regexp.MustCompile(`(?m)^ +(?:plexus\S* |-\w, )?(--?[a-z][a-z-]+)\b(.*)$`)
	flagDefault = regexp.MustCompile(`\(default "?([^")]+)"?\)`)
	flagMention = regexp.MustCompile("`(--[a-z][a-z-]*[a-z])[`= ]")
)

// flagsOf gives the flags that a --help names, with their defaults.
func flagsOf(help string) map[string]string {
	flags := map[string]string{}
	for _, line := range flagLine.FindAllStringSubmatch(help, -1) {
		value := ""
		if found := flagDefault.FindStringSubmatch(line[2]); found != nil {
			value = found[1]
		}
		flags["--"+strings.TrimLeft(line[1], "-")] = value
	}
	return flags
}

// flagFaults compares the section of a command with its flags: every row of its tables
// with name and default, and every flag that its prose names. A default that is in words,
// or is another flag's value, is none of the program.
func flagFaults(page, title string, real map[string]string) []string {
	part := section(page, title)
	if part == "" {
		return []string{"there is no section " + title}
	}
	documented, faults := []string{}, []string{}
	for _, row := range tableCells(part) {
		flag := codeSpan.FindStringSubmatch(row[0])
		if flag == nil {
			continue
		}
		documented = append(documented, flag[1])
		value := ""
		if found := codeSpan.FindStringSubmatch(row[1]); len(found) > 1 && found[1] != "false" && found[1] != "0" && !strings.HasPrefix(found[1], "--") {
			value = found[1]
		}
		if want, ok := real[flag[1]]; ok && value != want {
			faults = append(faults, fmt.Sprintf("%s: documented default %q, real default %q", flag[1], value, want))
		}
	}
	for _, mention := range flagMention.FindAllStringSubmatch(part, -1) {
		if _, ok := real[mention[1]]; !ok && !slices.Contains(documented, mention[1]) {
			faults = append(faults, mention[1]+" is named, and does not exist")
		}
	}
	return append(faults, differences(documented, slices.Sorted(maps.Keys(real)))...)
}

// TestFlagsAreDocumented builds the commands and asks each for its flags.
func TestFlagsAreDocumented(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/...")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, tc := range []struct{ command, page, title string }{
		{"plexus", "docs/configuration.md", "### plexus"},
		{"plexus-once", "docs/configuration.md", "### plexus-once"},
		{"plexus-agent", "docs/agent.md", "### Flags of plexus-agent"},
		{"plexus-agent serve", "docs/agent.md", "### Flags of plexus-agent serve"},
		{"plexus-agent install", "docs/agent.md", "### Flags of plexus-agent install"},
		{"plexus-agent uninstall", "docs/agent.md", "### Flags of plexus-agent uninstall"},
		{"plexus-agent interfaces", "docs/agent.md", "### Flags of plexus-agent interfaces"},
		{"kubectl-plexus explain", "docs/kubectl-plexus.md", "### Flags of explain"},
		{"kubectl-plexus validate", "docs/validate.md", "## The command line"},
		{"plexus-sriov", "docs/sriov.md", "## The command line"},
		{"plexus-vhostuser", "docs/vhost-user.md", "## The command line"},
		{"kubectl-plexus get", "docs/inspect.md", "### Flags of get"},
		{"kubectl-plexus inspect", "docs/inspect.md", "### Flags of inspect"},
		{"kubectl-plexus snapshot", "docs/inspect.md", "### Flags of snapshot"},
		{"kubectl-plexus path", "docs/path.md", "### Flags of path"},
		{"kubectl-plexus ui", "docs/ui.md", "### Flags of ui"},
		{"kubectl-plexus doctor", "docs/doctor.md", "### Flags of doctor"},
		{"kubectl-plexus gc", "docs/doctor.md", "### Flags of gc"},
		{"kubectl-plexus release", "docs/doctor.md", "### Flags of release"},
	} {
		t.Run(tc.command, func(t *testing.T) {
			words := strings.Fields(tc.command)
			out, err := exec.Command(filepath.Join(bin, words[0]), append(words[1:], "--help")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			help := string(out)
			if words[0] == "kubectl-plexus" { // those that it has of kubectl are documented there
				help, _, _ = strings.Cut(help, "\nGlobal Flags:")
			}
			flags := flagsOf(help)
			if len(flags) < 2 {
				t.Fatalf("only %d flags in\n%s", len(flags), out)
			}
			if words[0] == "plexus-once" {
				flags["--help"] = "" // package flag knows it and does not list it
			}
			reportAll(t, tc.page, flagFaults(readDoc(t, tc.page), tc.title, flags))
		})
	}
}

func TestFlagsOf(t *testing.T) {
	got := flagsOf(`It reads --none and so on.

  x [flags]
  plexus-agent serve --none x

  plexus --version   print the version
  -kubeconfig file
    	file, or --none (default "k")
      --log-format text   how to log (default "text")
  -h, --help              help for serve
      --master name       which (default: the first)
      --timeout duration  how long (default 3s)
`)
	want := map[string]string{"--version": "", "--kubeconfig": "", "--log-format": "text", "--help": "", "--master": "", "--timeout": "3s"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestFlagFaults feeds pages that are wrong to the comparison.
func TestFlagFaults(t *testing.T) {
	const good = "# P\n\n### p\n\n| flag | default | |\n|---|---|---|\n| `--a` | `1` | x |\n| `--b` | | x |\n| `--c` | `--a` | x |\n\n" +
		"#### p --a\n\nIt wins over `--b`.\n\n### p q\n\n| `--zebra` | | |\n"
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"complete", "", "", nil},
		{"a row less", "| `--b` | | x |\n", "", []string{"--b is not documented"}},
		{"a row too many", "| `--b`", "| `--zebra` | | |\n| `--b`", []string{"--zebra is documented, and does not exist"}},
		{"another default", "`1`", "`2`", []string{`--a: documented default "2", real default "1"`}},
		{"no default", "`1`", "none", []string{`--a: documented default "", real default "1"`}},
		{"prose", "over `--b`", "over `--zebra=1`", []string{"--zebra is named, and does not exist"}},
		{"no section", "### p\n", "", []string{"there is no section ### p"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			real := map[string]string{"--a": "1", "--b": "", "--c": ""}
			wantLines(t, tc.want, flagFaults(strings.Replace(good, tc.old, tc.new, 1), "### p", real))
		})
	}
}
