package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^()\s]+)\)|(?:src|srcset|href)="([^"\s]+)"`)
	markdownHead = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	ownAnchor    = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	linkText     = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	// docMention matches where a source or an error names a page of the handbook.
	docMention = regexp.MustCompile(`\bdocs/[\w/-]+\.md(?:#[\w-]+)?`)
)

// anchorsOf gives the anchors of a page: GitHub's, of the headings, and its own.
func anchorsOf(page string) map[string]bool {
	page = codeFence.ReplaceAllString(page, "")
	anchors := map[string]bool{}
	for _, heading := range markdownHead.FindAllStringSubmatch(page, -1) {
		base := slug(heading[1])
		name := base
		for n := 1; anchors[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		anchors[name] = true
	}
	for _, anchor := range ownAnchor.FindAllStringSubmatch(page, -1) {
		anchors[anchor[1]] = true
	}
	return anchors
}

// slug makes an anchor of a heading as GitHub does.
func slug(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// linksOf gives the targets of a page's links, without those that lead out of the repository.
func linksOf(page string) []string {
	page = codeSpan.ReplaceAllString(codeFence.ReplaceAllString(page, ""), "")
	var links []string
	for _, match := range markdownLink.FindAllStringSubmatch(page, -1) {
		if link := match[1] + match[2]; !strings.Contains(link, "://") && !strings.HasPrefix(link, "mailto:") {
			links = append(links, link)
		}
	}
	return links
}

// linkFault tells what is wrong with a link from the file `from`, "" if nothing is.
func linkFault(tree fs.FS, from, link string) string {
	target, anchor, _ := strings.Cut(link, "#")
	path := from
	if target != "" {
		path = filepath.Join(filepath.Dir(from), target)
	}
	text, err := fs.ReadFile(tree, path)
	if info, statErr := fs.Stat(tree, path); statErr == nil && info.IsDir() && anchor == "" {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("%s: %s is not there", from, link)
	}
	if anchor != "" && !anchorsOf(string(text))[anchor] {
		return fmt.Sprintf("%s: %s: there is no such anchor", from, link)
	}
	return ""
}

// linkFaults checks every link of every page in a tree, and every page that another file
// of it names as docs/NAME.md.
func linkFaults(tree fs.FS) (faults []string, checked int, err error) {
	err = fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && slices.Contains([]string{".git", "out", "bin", "testdata"}, name) {
			return fs.SkipDir
		}
		extension := filepath.Ext(path)
		if entry.IsDir() || strings.HasSuffix(path, "_test.go") || !slices.Contains([]string{".md", ".go", ".yaml"}, extension) {
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		links, from := docMention.FindAllString(string(text), -1), "."
		if extension == ".md" {
			links, from = linksOf(string(text)), path
		}
		for _, link := range links {
			checked++
			if fault := linkFault(tree, from, link); fault != "" {
				faults = append(faults, strings.Replace(fault, ".:", path+":", 1))
			}
		}
		return nil
	})
	slices.Sort(faults)
	return faults, checked, err
}

func TestLinksResolve(t *testing.T) {
	faults, checked, err := linkFaults(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	if checked < 200 {
		t.Errorf("only %d links were checked", checked)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

// TestLinkFaults checks trees of pages whose links lead nowhere.
func TestLinkFaults(t *testing.T) {
	for _, tc := range []struct {
		name, path, text string
		want             []string
	}{
		{"all right", "docs/a.md", "[x](b.md#some-heading-its-code) [x](b.md#some-heading-its-code-1) [x](b.md#own) [x](#top) [x](../docs/b.md) [x](../docs) [x](https://a.b/c#d)\n\n# Top\n", nil},
		{"no file", "docs/a.md", "[x](c.md)", []string{"docs/a.md: c.md is not there"}},
		{"no anchor", "docs/a.md", "[x](b.md#none)", []string{"docs/a.md: b.md#none: there is no such anchor"}},
		{"no anchor here", "docs/a.md", "[x](#none)", []string{"docs/a.md: #none: there is no such anchor"}},
		{"a heading in a fence", "docs/a.md", "[x](#none)\n\n```\n# None\n```\n", []string{"docs/a.md: #none: there is no such anchor"}},
		{"a picture", "docs/a.md", `<img src="none.svg">`, []string{"docs/a.md: none.svg is not there"}},
		{"no link, but code", "docs/a.md", "`[x](c.md)`\n\n```\n[x](c.md)\n```\n", nil},
		{"a source", "cmd/x.go", "// See docs/b.md#own and docs/b.md.", nil},
		{"a source of a page that is gone", "cmd/x.go", "// See docs/c.md.", []string{"cmd/x.go: docs/c.md is not there"}},
		{"an error with an anchor that is gone", "cmd/x.go", `"see docs/b.md#none"`, []string{"cmd/x.go: docs/b.md#none: there is no such anchor"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := fstest.MapFS{
				"docs/b.md": {Data: []byte("# Some heading: its `Code`\n\n## Some heading: its code\n\n<a id=\"own\"></a>\n")},
				tc.path:     {Data: []byte(tc.text)},
			}
			faults, _, err := linkFaults(tree)
			if err != nil {
				t.Fatal(err)
			}
			wantLines(t, tc.want, faults)
		})
	}
}
