package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
)

var (
	codeConst   = regexp.MustCompile(`^[Cc]ode[A-Z]`)
	codeHeading = regexp.MustCompile(`(?m)^### Code ([0-9]+)$`)
	codeRow     = regexp.MustCompile("(?m)^\\| \\[`([0-9]+)`\\]\\(#code-[0-9]+\\) \\|")
)

// codeMakers are the functions whose first argument is a CNI code.
var codeMakers = []string{"Errorf", "WithCode", "NewError"}

// libraryCodes are made by CNI's own library before it calls a command of ours.
var libraryCodes = []uint{cnitypes.ErrIncompatibleCNIVersion, cnitypes.ErrDecodingFailure}

// codeUses is what sources say of CNI codes.
type codeUses struct {
	values map[string]string // of the constants
	made   map[string]bool   // names of constants, and numbers, that errors are made with
}

// read notes the constants and the makers in a file. A constant of package types is a
// CNI code wherever it is; another one may be of another protocol, unless it makes an error.
func (u *codeUses) read(file *ast.File) {
	declared := map[*ast.Ident]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ValueSpec:
			u.declare(n, declared)
		case *ast.Ident:
			if strings.HasPrefix(n.Name, "Code") && !declared[n] {
				u.made[n.Name] = true
			}
		case *ast.CallExpr:
			if len(n.Args) > 0 && slices.Contains(codeMakers, nameOf(n.Fun)) {
				u.made[nameOf(n.Args[0])] = true
			}
		}
		return true
	})
}

func (u *codeUses) declare(spec *ast.ValueSpec, declared map[*ast.Ident]bool) {
	for i, name := range spec.Names {
		declared[name] = true
		if i >= len(spec.Values) || !codeConst.MatchString(name.Name) {
			continue
		}
		if literal, ok := spec.Values[i].(*ast.BasicLit); ok && literal.Kind == token.INT {
			u.values[name.Name] = literal.Value
		}
	}
}

// codes gives the numbers of the codes that errors are made with.
func (u *codeUses) codes() []string {
	codes := map[string]bool{}
	for made := range u.made {
		if value, isConst := u.values[made]; isConst {
			codes[value] = true
		} else if _, err := strconv.Atoi(made); err == nil {
			codes[made] = true
		}
	}
	return slices.Sorted(maps.Keys(codes))
}

// nameOf gives the name of a function or constant, without its package, or a number.
func nameOf(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	case *ast.BasicLit:
		return e.Value
	}
	return ""
}

// goFolders gives the folders of the module that have sources of what is shipped.
func goFolders(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	for _, top := range []string{"cmd", "delegate", "internal", "k8sclient", "sriov", "types"} {
		err := filepath.WalkDir(filepath.Join(root(t), top), func(path string, entry fs.DirEntry, err error) error {
			if entry != nil && path == filepath.Join(root(t), "internal", "test") {
				return fs.SkipDir
			}
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				folder, relErr := filepath.Rel(root(t), filepath.Dir(path))
				found[folder] = true
				return relErr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestCodesAreDocumented(t *testing.T) {
	uses := codeUses{values: map[string]string{}, made: map[string]bool{}}
	for _, folder := range goFolders(t) {
		for _, file := range sources(t, folder) {
			uses.read(file)
		}
	}
	made := uses.codes()
	for _, code := range libraryCodes {
		made = append(made, strconv.FormatUint(uint64(code), 10))
	}
	if len(made) < 9 {
		t.Fatalf("only %q", made)
	}
	reportAll(t, "docs/troubleshooting.md", codeFaults(readDoc(t, "docs/troubleshooting.md"), made))
}

// codeFaults compares the table and the headings of the section CNI codes with the codes.
func codeFaults(page string, made []string) []string {
	part := section(page, "## CNI codes")
	if part == "" {
		return []string{"there is no section CNI codes"}
	}
	numbers := func(pattern *regexp.Regexp) []string {
		var found []string
		for _, match := range pattern.FindAllStringSubmatch(part, -1) {
			found = append(found, match[1])
		}
		return found
	}
	faults := differences(numbers(codeHeading), made)
	for _, fault := range differences(numbers(codeRow), made) {
		faults = append(faults, "table: "+fault)
	}
	return faults
}

// TestCodeUses reads a source that makes codes in every way, and some that it does not make.
func TestCodeUses(t *testing.T) {
	const source = `package p
const (
	CodeUsed   uint = 7
	CodeUnused uint = 8
	codeOwn    uint = 51
	codeOther       = 9
)
func f(err error) error {
	_ = types.WithCode(types.CodeUsed, err)
	_ = types.WithCode(codeOwn, err)
	_ = types.Errorf(12, "x")
	_ = NewError(13, "x", "")
	_ = fmt.Sprint(14)
	_ = codeOf(codeOther)
	return types.WithCode(types.CodeOf(err, 0), err)
}`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	uses := codeUses{values: map[string]string{}, made: map[string]bool{}}
	uses.read(file)
	wantLines(t, []string{"12", "13", "51", "7"}, uses.codes())
}

// TestCodeFaults feeds pages that are wrong to the comparison.
func TestCodeFaults(t *testing.T) {
	const good = "# P\n\n## CNI codes\n\n| code | |\n|---|---|\n| [`4`](#code-4) | x |\n| [`7`](#code-7) | x |\n\n### Code 4\n\nText.\n\n### Code 7\n\nText.\n\n## Else\n\n| `9` | |\n"
	for _, tc := range []struct {
		name, page string
		want       []string
	}{
		{"complete", good, nil},
		{"a row less", strings.Replace(good, "| [`4`](#code-4) | x |\n", "", 1), []string{"table: 4 is not documented"}},
		{"a paragraph less", strings.Replace(good, "### Code 4\n", "", 1), []string{"4 is not documented"}},
		{"a paragraph too many", strings.Replace(good, "### Code 4\n", "### Code 4\n\n### Code 5\n", 1), []string{"5 is documented, and does not exist"}},
		{"a row too many", strings.Replace(good, "| [`4`](#code-4) |", "| [`6`](#code-6) | x |\n| [`4`](#code-4) |", 1), []string{"table: 6 is documented, and does not exist"}},
		{"no section", "# P\n", []string{"there is no section CNI codes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantLines(t, tc.want, codeFaults(tc.page, []string{"4", "7"}))
		})
	}
}
