package main

import (
	_ "embed"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// promise is one thing that the documents say, with the mutation that breaks it.
type promise struct {
	says string
	file string // with the code that keeps it, below the module
	pkg  string // of the tests, as "./delegate"
	test string // names of the tests that must fail, with | between them
	old  string // the code, found once in the file
	new  string // what the mutation puts in its place
}

//go:embed promises.txt
var promises string

// parsePromises reads the list. Every promise is a block of lines, without an empty one in it:
// what it says, the file, the package with the tests, and the mutation as in a diff.
func parsePromises(text string) ([]promise, error) {
	var all []promise
	var faults []error
	for block := range strings.SplitSeq(text, "\n\n") {
		lines := withoutComments(block)
		if len(lines) == 0 {
			continue
		}
		p, err := parsePromise(lines)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", lines[0], err))
			continue
		}
		all = append(all, p)
	}
	return all, errors.Join(faults...)
}

func withoutComments(block string) []string {
	var lines []string
	for line := range strings.Lines(block) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func parsePromise(lines []string) (promise, error) {
	if len(lines) < 4 {
		return promise{}, errors.New("it has no file, no tests or no mutation")
	}
	p := promise{says: lines[0], file: lines[1]}
	p.pkg, p.test, _ = strings.Cut(lines[2], " ")
	var removed, added []string
	for _, line := range lines[3:] {
		switch {
		case strings.HasPrefix(line, "-"):
			removed = append(removed, line[1:])
		case strings.HasPrefix(line, "+"):
			added = append(added, line[1:])
		default:
			return p, fmt.Errorf("neither removed nor added: %q", line)
		}
	}
	p.old, p.new = strings.Join(removed, "\n"), strings.Join(added, "\n")
	return p, nil
}

// mutated gives the file's content with the mutation. The code must be there once, and what
// comes of it must be Go.
func (p *promise) mutated(root string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(root, p.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(data), p.old); n != 1 || p.old == "" {
		return nil, fmt.Errorf("%s has the code to mutate %d times, not once:\n%s", p.file, n, p.old)
	}
	mutated := strings.Replace(string(data), p.old, p.new, 1)
	if _, err := parser.ParseFile(token.NewFileSet(), p.file, mutated, 0); err != nil {
		return nil, fmt.Errorf("the mutation is not Go: %w", err)
	}
	return []byte(mutated), nil
}

// checkTests reports the tests that the package does not have.
func (p *promise) checkTests(root string) error {
	files, err := filepath.Glob(filepath.Join(root, p.pkg, "*_test.go"))
	if err != nil {
		return err
	}
	var source strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		source.Write(data)
	}
	var faults []error
	for name := range strings.SplitSeq(p.test, "|") {
		if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`).MatchString(source.String()) {
			faults = append(faults, fmt.Errorf("%s has no test %q", p.pkg, name))
		}
	}
	return errors.Join(faults...)
}
