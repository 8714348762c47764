package window

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// Formats that every command with an output has.
const (
	formatText = "text"
	formatJSON = "json"
	formatYAML = "yaml"
)

// output is the flag -o of a command.
type output struct {
	format  string
	formats []string
}

// addOutput adds the flag -o, with text, JSON, YAML, and what more the command has.
func addOutput(cmd *cobra.Command, more ...string) *output {
	o := &output{formats: append([]string{formatText, formatJSON, formatYAML}, more...)}
	cmd.Flags().StringVarP(&o.format, "output", "o", formatText, "`format` of the output: "+strings.Join(o.formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.formats, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// check refuses a format that the command does not have.
func (o *output) check() error {
	if slices.Contains(o.formats, o.format) {
		return nil
	}
	return misuse(fmt.Errorf("--output: %q is not one of %s", o.format, strings.Join(o.formats, ", ")))
}

// write writes a value as JSON or YAML, or has its text written.
func (o *output) write(w io.Writer, value any, text func(io.Writer) error) error {
	switch o.format {
	case formatJSON:
		return writeJSON(w, value)
	case formatYAML:
		return writeYAML(w, value)
	}
	return text(styled(w))
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func writeYAML(w io.Writer, value any) error {
	var encoded bytes.Buffer
	if err := writeJSON(&encoded, value); err != nil {
		return err
	}
	text, err := yaml.JSONToYAML(encoded.Bytes())
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
