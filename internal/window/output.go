package window

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// Formats that every command with an output has.
const (
	formatText     = "text"
	formatJSON     = "json"
	formatYAML     = "yaml"
	formatPath     = "jsonpath="
	formatPathFile = "jsonpath-file="
)

// formatTable is what kubectl's users call the text.
const formatTable = "table"

// output is the flag -o of a command.
type output struct {
	format  string
	formats []string
	path    *jsonpath.JSONPath // of the last two formats
}

// addOutput adds the flag -o, with text, JSON, YAML, JSONPath, and what more the command has.
func addOutput(cmd *cobra.Command, more ...string) *output {
	o := &output{formats: slices.Concat([]string{formatText, formatJSON, formatYAML}, more, []string{formatPath, formatPathFile})}
	cmd.Flags().StringVarP(&o.format, "output", "o", formatText, "`format` of the output: "+o.names())
	_ = cmd.RegisterFlagCompletionFunc("output", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return o.complete(begun)
	})
	return o
}

func (o *output) names() string {
	return strings.Replace(strings.Join(o.formats, ", "), formatPath+", "+formatPathFile, formatPath+"TEMPLATE, "+formatPathFile+"FILE", 1)
}

// complete gives the formats, without a space after one that goes on.
func (o *output) complete(begun string) ([]string, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp
	fitting := slices.DeleteFunc(slices.Clone(o.formats), func(format string) bool { return !strings.HasPrefix(format, begun) })
	if !slices.ContainsFunc(fitting, func(format string) bool { return !strings.HasSuffix(format, "=") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return fitting, directive
}

// check refuses a format that the command does not have, and a template that is none.
func (o *output) check() error {
	if o.format == formatTable {
		o.format = formatText
	}
	if template, is := strings.CutPrefix(o.format, formatPath); is {
		return o.parse(template)
	}
	if name, is := strings.CutPrefix(o.format, formatPathFile); is {
		template, err := os.ReadFile(name)
		if err != nil {
			return misuse(fmt.Errorf("--output: %w", err))
		}
		return o.parse(string(template))
	}
	if slices.Contains(o.formats, o.format) {
		return nil
	}
	return misuse(fmt.Errorf("--output: %q is not one of %s", o.format, o.names()))
}

// parse reads a template as kubectl does, which lets keys be missing.
func (o *output) parse(template string) error {
	o.path = jsonpath.New("output").AllowMissingKeys(true)
	err := o.path.Parse(template)
	if template == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		err = fmt.Errorf("--output: %q is not a template of JSONPath: %w", template, err)
	}
	return misuse(err)
}

// write writes a value as JSON, YAML, or what a JSONPath takes of it, or has its text written.
func (o *output) write(w io.Writer, value any, text func(io.Writer) error) error {
	switch {
	case o.path != nil:
		return o.writePath(w, value)
	case o.format == formatJSON:
		return writeJSON(w, value)
	case o.format == formatYAML:
		return writeYAML(w, value)
	}
	return text(styled(w))
}

// writePath takes of a value what the template says, by the names that its JSON has.
func (o *output) writePath(w io.Writer, value any) error {
	var encoded bytes.Buffer
	if err := writeJSON(&encoded, value); err != nil {
		return err
	}
	var generic any
	decoder := json.NewDecoder(&encoded)
	decoder.UseNumber() // an inode stays as it is
	if err := decoder.Decode(&generic); err != nil {
		return err
	}
	if err := o.path.Execute(w, integers(generic)); err != nil {
		return misuse(fmt.Errorf("--output: %w", err))
	}
	return nil
}

// integers makes numbers of JSON those of Go, which a JSONPath compares.
func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		broken, _ := v.Float64()
		return broken
	}
	return value
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
