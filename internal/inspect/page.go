package inspect

import (
	"fmt"
	"strings"
)

// FindingsPage gives docs/findings.md.
func FindingsPage() string {
	var page strings.Builder
	page.WriteString(`# Findings

What [` + "`kubectl-plexus inspect`" + `](inspect.md) and [` + "`kubectl-plexus doctor`" + `](doctor.md) find. Each finding says what was seen, as fields
of the snapshot. This page is made from the program: a test compares the two.

An *error* means that packets are lost, or that pods do not start. A *warning* means that some may be, or may not. A *notice* is no fault: it
is something that has to be known. The exit code is 1 for errors and warnings.

## Of pods and their networks

Both commands have these. A test makes each one happen in a real kernel, and holds that a healthy node gives none.

`)
	writeEntries(&page, Catalogue)
	page.WriteString(`
## Of the node

` + "`doctor`" + ` alone has these. A test makes each one happen.

`)
	writeEntries(&page, NodeCatalogue)
	return page.String()
}

func writeEntries(page *strings.Builder, entries []Entry) {
	page.WriteString("| finding | severity |\n|---|---|\n")
	for _, entry := range entries {
		fmt.Fprintf(page, "| [%s](#%s) | %s |\n", entry.ID, entry.ID, entry.Severity)
	}
	for _, entry := range entries {
		fmt.Fprintf(page, "\n### %s\n\n%s\n\nWhat to do: %s\n", entry.ID, entry.Meaning, entry.Do)
	}
}
