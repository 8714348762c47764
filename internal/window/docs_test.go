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
var block = regexp.MustCompile("(?m)^(?:`([^`\n]+)`[^\n]*:\n\n)?```(\\w+)\n((?:.*\n)*?)```$")

// Every example of a page does what the page says. Files stand before the commands that use them.
// With -update the page gets what they do.
func TestDocsExamples(t *testing.T) {
	for page, saved := range map[string]string{"kubectl-plexus.md": "", "validate.md": "", "path.md": "../../docs/paths/flannel-vxlan"} {
		t.Run(page, func(t *testing.T) { runExamples(t, page, saved) })
	}
}

// runExamples runs those of a page, in a folder with the files of another one, if it is named.
func runExamples(t *testing.T, file, saved string) {
	t.Helper()
	docsPage, err := filepath.Abs("../../docs/" + file)
	check.Must(t, err)
	data, err := os.ReadFile(docsPage)
	check.Must(t, err)
	page, dir := string(data), t.TempDir()
	if saved != "" {
		check.Must(t, os.CopyFS(dir, os.DirFS(saved)))
	}
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
