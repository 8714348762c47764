package window

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// block matches a block of the page: what is said before it about its file, its language, its text.
var block = regexp.MustCompile("(?ms:^(?:`([^`\n]+)`[^\n]*:\n\n)?```(\\w+)\n(.*?)^```$)") //nolint:gocritic // with (?m) it is the beginning of a line

// Every example of a page does what the page says. Files stand before the commands that use them.
// With -update the page gets what they do.
func TestDocsExamples(t *testing.T) {
	for _, page := range []string{"kubectl-plexus.md", "validate.md"} {
		t.Run(page, func(t *testing.T) { runExamples(t, page) })
	}
}

func runExamples(t *testing.T, file string) {
	t.Helper()
	docsPage, err := filepath.Abs("../../docs/" + file)
	check.Must(t, err)
	data, err := os.ReadFile(docsPage)
	check.Must(t, err)
	page, dir := string(data), t.TempDir()
	got, commands := page, 0
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		name, language, text := found[1], found[2], found[3]
		if language != "console" {
			if name != "" { // others are of a reader's own
				write(t, dir, name, text)
			}
			continue
		}
		commands++
		line, _, _ := strings.Cut(text, "\n")
		t.Chdir(dir)
		ran := runWith(t, "", strings.Fields(strings.TrimPrefix(line, "$ kubectl plexus "))...)
		check.Equal(t, "stderr of "+line, ran.stderr, "")
		got = strings.Replace(got, text, line+"\n"+ran.stdout, 1)
	}
	if commands == 0 {
		t.Fatal("the page has no example")
	}
	check.Golden(t, docsPage, []byte(got))
}
