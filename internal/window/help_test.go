package window

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Every command says at length what it answers, and has examples that its own flags and arguments allow.
func TestHelpOfEveryCommand(t *testing.T) {
	count := 0
	eachCommand(New(discard()), func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Parent().Name() == "completion" { // cobra's own words
			return
		}
		count++
		t.Run(cmd.Name(), func(t *testing.T) {
			check.Equal(t, "has a short text", cmd.Short != "" && !strings.HasSuffix(cmd.Short, "."), true)
			check.Equal(t, "has a long text", len(cmd.Long) > len(cmd.Short), true)
			examples := commandLines(cmd.Example)
			check.Equal(t, "has examples", len(examples) > 0, true)
			for _, example := range examples {
				parses(t, example)
			}
		})
	})
	check.Equal(t, "there were commands", count > 6, true)
}

// commandLines gives the lines of examples that run this program.
func commandLines(example string) (lines [][]string) {
	for line := range strings.Lines(example) {
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, " >")
		if _, after, piped := strings.Cut(line, "| "); piped {
			line = after
		}
		words := strings.Fields(strings.ReplaceAll(line, "'", ""))
		for i, word := range words {
			if word == program || word == "plexus" && i > 0 && words[i-1] == "kubectl" {
				lines = append(lines, words[i+1:])
				break
			}
		}
	}
	return lines
}

// parses reads a line as the program does, without running it.
func parses(t *testing.T, line []string) {
	t.Helper()
	cmd, args, err := New(discard()).Find(line)
	check.Must(t, err)
	check.Must(t, cmd.ParseFlags(args))
	if cmd.Args != nil {
		check.Must(t, cmd.Args(cmd, cmd.Flags().Args()))
	}
}

func TestCommandLines(t *testing.T) {
	got := commandLines("  # a\n  sudo kubectl-plexus get a/b # c\n  helm template . | kubectl plexus validate - > x\n  ls\n")
	check.Equal(t, "lines", got, [][]string{{"get", "a/b"}, {"validate", "-"}})
}
