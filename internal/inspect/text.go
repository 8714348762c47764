package inspect

import (
	"fmt"
	"io"
	"strings"

	"github.com/plexus-cni/plexus/internal/style"
)

// WriteText writes a report for reading: findings first, then every interface. With commands, each
// fact has below it what shows it by hand.
func (r *Report) WriteText(w io.Writer, commands bool) error {
	t, details := &text{commands: commands, style: style.Of(w)}, r.Details()
	t.section(details.Heading)
	t.findings(r)
	for _, section := range details.Sections {
		t.section(section)
	}
	if len(details.Unused) > 0 {
		t.line("not used: %s", strings.Join(details.Unused, ", "))
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// text is a report on a terminal.
type text struct {
	strings.Builder
	commands bool
	style    style.Style
}

func (t *text) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

func (t *text) section(s Section) {
	t.line("%s", s.Title+prefixed("  ", s.About))
	t.command("  ", s.Command)
	for _, fact := range s.Facts {
		t.fact(fact.Label, fact.Values...)
		t.command("              ", fact.Command)
	}
	for _, line := range s.Lines {
		t.line("  %s", line)
	}
	t.line("")
}

// fact writes the label once, then each value below the other.
func (t *text) fact(label string, values ...string) {
	for _, value := range values {
		t.line("  %-11s %s", label, value)
		label = ""
	}
}

func (t *text) command(indent, command string) {
	if t.commands && command != "" {
		t.line("%s$ %s", indent, command)
	}
}

func (t *text) findings(r *Report) {
	if len(r.Findings) == 0 {
		t.line("%s\n", t.style.Good(NothingWrong))
	}
	for _, finding := range r.Findings {
		t.line("%s %s", finding.Severity.styled(t.style), finding.ID)
		t.line("  %s", finding.Text)
		for _, seen := range r.Seen(&finding) {
			t.fact("seen", seen)
		}
		t.fact("do", finding.Do)
		t.line("")
	}
}

// NothingWrong is said where there is no finding.
const NothingWrong = "Nothing is wrong."

// styled gives the word of a severity.
func (s Severity) styled(words style.Style) string {
	text := strings.ToUpper(string(s))
	switch s {
	case Error:
		return words.Bad(text)
	case Warning:
		return words.Doubtful(text)
	}
	return words.Note(text)
}
