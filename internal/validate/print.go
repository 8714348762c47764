package validate

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/plexus-cni/plexus/internal/style"
)

// The kind and version of the JSON form.
const (
	reportKind    = "ValidationReport"
	reportVersion = "plexus-cni.io/v1alpha1"
)

// Formats are the forms of a report, by the name of each.
var Formats = map[string]func(io.Writer, *Report) error{
	"text": Text, "json": JSON, "sarif": SARIF, "github": GitHub,
}

// Text writes a report for people: a finding as compilers write theirs, its object and what to do.
func Text(w io.Writer, r *Report) error {
	var b strings.Builder
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s [%s]\n", oneLine(f.File), f.Line, f.Column, f.Severity.styled(style.Of(w)), oneLine(f.sentence()), f.Rule)
		if place := f.place(); place != "" {
			fmt.Fprintf(&b, "    in %s\n", oneLine(place))
		}
		fmt.Fprintf(&b, "    do: %s\n", f.Do)
	}
	fmt.Fprintf(&b, "%s, %s, %s: %s, %s, %s\n", count(r.Files, "file"), count(r.Networks, "network"), count(r.Pods, "pod"),
		count(r.Count(Error), "error"), count(r.Count(Warning), "warning"), count(r.Count(Note), "note"))
	_, err := io.WriteString(w, b.String())
	return err
}

// styled gives the word of a severity.
func (s Severity) styled(words style.Style) string {
	switch s {
	case Error:
		return words.Bad(string(s))
	case Warning:
		return words.Doubtful(string(s))
	}
	return words.Note(string(s))
}

// sentence gives the message so that it can stand alone: one that begins with its verb gets its
// field, as an ADD writes it.
func (f *Finding) sentence() string {
	if f.Field != "" && strings.HasPrefix(f.Message, "is ") {
		return f.Field + ": " + f.Message
	}
	return f.Message
}

// place gives the object, the field and the chart's template, as far as there are any.
func (f *Finding) place() string {
	var parts []string
	for _, part := range []string{f.Object, f.Field} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	place := strings.Join(parts, ", ")
	if f.Template != "" {
		place += " (from " + f.Template + ")"
	}
	return strings.TrimSpace(place)
}

// oneLine keeps what a file says from adding lines, or a terminal's codes, to a report.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// JSON writes a report with its kind and version.
func JSON(w io.Writer, r *Report) error { return encode(w, Versioned(r)) }

// Versioned gives a report with its kind and version, to be encoded.
func Versioned(r *Report) any {
	shown := *r
	if shown.Findings == nil {
		shown.Findings = []Finding{}
	}
	return struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		*Report
	}{reportKind, reportVersion, &shown}
}

func encode(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// gitHubLevels are the severities as GitHub's workflow commands name them.
var gitHubLevels = map[Severity]string{Error: "error", Warning: "warning", Note: "notice"}

// GitHub escapes the text of a workflow command, and more in its properties.
var (
	gitHubText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	gitHubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// GitHub writes the workflow commands that make annotations of findings.
func GitHub(w io.Writer, r *Report) error {
	var b strings.Builder
	for i := range r.Findings {
		f := &r.Findings[i]
		text := oneLine(f.sentence())
		if place := f.place(); place != "" {
			text += " (" + oneLine(place) + ")"
		}
		text += "\n" + f.Do
		fmt.Fprintf(&b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", gitHubLevels[f.Severity],
			gitHubProperty.Replace(f.File), f.Line, f.Column, gitHubProperty.Replace("plexus "+f.Rule), gitHubText.Replace(text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
