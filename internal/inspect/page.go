package inspect

import (
	"fmt"
	"strings"
)

// FindingsPage gives docs/findings.md.
func FindingsPage() string {
	var page strings.Builder
	page.WriteString(`# Findings

What [` + "`kubectl-plexus inspect`" + `](inspect.md) finds. Each finding says what was seen, as fields of the snapshot. A test makes each one
happen in a real kernel, and holds that a healthy node gives none. This page is made from the program: a test compares the two.

An *error* means that packets are lost. A *warning* means that some may be. A *notice* is no fault: it is something that has to be known.
The exit code is 1 for errors and warnings.

| finding | severity |
|---|---|
`)
	for _, entry := range Catalogue {
		fmt.Fprintf(&page, "| [%s](#%s) | %s |\n", entry.ID, entry.ID, entry.Severity)
	}
	for _, entry := range Catalogue {
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\nWhat to do: %s\n", entry.ID, entry.Meaning, entry.Do)
	}
	return page.String()
}
