package inspect

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const debugging = "../../docs/debugging.md"

// The table of docs/debugging.md is what the program says. Run the test with -update after a change.
func TestDebuggingPage(t *testing.T) {
	data, err := os.ReadFile(debugging)
	check.Must(t, err)
	const title = "## The seven commands\n\n"
	before, rest, found := strings.Cut(string(data), title)
	_, after, ended := strings.Cut(rest, "\n## ")
	check.Equal(t, "the page has the table", found && ended, true)
	check.Golden(t, debugging, []byte(before+title+ClassicsTable()+"\n## "+after))
}

// Each of the six faults leads to a finding, which the page shows as inspect says it.
func TestDebuggingPageShowsFindings(t *testing.T) {
	data, err := os.ReadFile(debugging)
	check.Must(t, err)
	var ids []string
	for _, example := range regexp.MustCompile(`(?m)^(?:ERROR|WARNING) ([a-z-]+)$`).FindAllStringSubmatch(string(data), -1) {
		ids = append(ids, example[1])
		if MeaningOf(example[1]) == "" {
			t.Errorf("the page shows %s, which is in no catalogue", example[1])
		}
	}
	check.Equal(t, "findings", ids, []string{"host-end-off-bridge", "vtep-fdb-missing", "legacy-iptables", "overlay-mtu", "proxy-arp-without-route", "rp-filter-strict"})
}

// The text of inspect has each part that the page names.
func TestClassicsAreAnswered(t *testing.T) {
	var text strings.Builder
	check.Must(t, NewReport(rich(), podA).WriteText(&text, false))
	check.Equal(t, "commands", len(Classics), 7)
	for _, classic := range Classics {
		for _, label := range classic.Labels {
			has := slices.ContainsFunc(strings.Split(text.String(), "\n"), func(line string) bool {
				return strings.HasPrefix(line, "  "+label+" ") || line == label
			})
			check.Equal(t, classic.Command+": "+label, has, true)
		}
	}
}
